/** Rows of a list that one page of a search reads in order. */
export const MAX_SCANNED = 500;
/** Rows that an index finds for one page of a search. */
export const MAX_MATCHES = 1000;

/** The next rows of a list, as far as they match. */
export interface Scan<T> {
  matches: T[];
  /** The last row that was read; undefined when the list ended before, or enough rows matched. */
  last?: T;
}

/** @param rows the matching ones, and the one with the number `MAX_SCANNED` */
export function scanOf<T extends { isMatch: boolean; number: number }>(rows: T[]): Scan<T> {
  const last = rows.at(-1);
  return { matches: rows.filter(({ isMatch }) => isMatch), ...(last?.number === MAX_SCANNED && { last }) };
}

/** How to read a list and its search. */
export interface SearchedList<T> {
  /** @param ids only these rows */
  list(ids?: string[]): Promise<T[]>;
  /** @param words for `to_tsquery` */
  scanNext(words: string): Promise<Scan<T>>;
  /** At most one more than `MAX_MATCHES`. */
  findMatching(words: string): Promise<string[]>;
}

/**
 * One page of a list, with or without a search for beginnings of words. Frequent words are found in the next rows of the
 * list, and rare ones by an index. For words between these, a page holds fewer rows than the limit, and the next one begins
 * after `end`.
 */
export async function searchPage<T>(search: string | undefined, limit: number, of: SearchedList<T>): Promise<{ rows: T[]; end?: T }> {
  if (search === undefined) return { rows: await of.list() };
  const words = (search.match(/[\p{L}\p{N}]+/gu) ?? []).map((word) => `${word}:*`).join(' & ');
  // A search without a word finds nothing rather than everything.
  if (words === '') return { rows: [] };
  const { matches, last } = await of.scanNext(words);
  if (last === undefined || matches.length >= limit) return { rows: matches, end: last };
  const ids = await of.findMatching(words);
  return ids.length > MAX_MATCHES ? { rows: matches, end: last } : { rows: await of.list(ids) };
}
