/** Rows of a list that one page of a search looks at. */
export const MAX_LOOKED_AT = 500;
/** Rows that an index finds for one page of a search. */
export const MAX_FOUND = 1000;

/** Rows of a list that match, in its order. */
export interface LookedAt<T> {
  matches: T[];
  /** The last row that was looked at; undefined when the list ended before, or more matches than wanted were found. */
  last?: T;
}

/** @param rows those that match, and the one with the number `MAX_LOOKED_AT` */
export function lookedAt<T extends { isMatch: boolean; number: number }>(rows: T[]): LookedAt<T> {
  const last = rows.at(-1);
  return { matches: rows.filter(({ isMatch }) => isMatch), ...(last?.number === MAX_LOOKED_AT && { last }) };
}

/** How to read a list and its search. */
export interface SearchedList<T> {
  /** @param ids only these rows */
  list(ids?: string[]): Promise<T[]>;
  /** @param words for `to_tsquery` */
  lookAtNext(words: string): Promise<LookedAt<T>>;
  /** At most one more than `MAX_FOUND`. */
  findIds(words: string): Promise<string[]>;
}

/**
 * One page of a list, with or without a search for beginnings of words. Frequent words are found in the next rows of the
 * list, and rare ones by an index. A page of words between these holds fewer rows than the limit, and goes on after `end`.
 */
export async function searchPage<T>(search: string | undefined, limit: number, of: SearchedList<T>): Promise<{ rows: T[]; end?: T }> {
  if (search === undefined) return { rows: await of.list() };
  const words = (search.match(/[\p{L}\p{N}]+/gu) ?? []).map((word) => `${word}:*`).join(' & ');
  // A search without a word finds nothing rather than everything.
  if (words === '') return { rows: [] };
  const { matches, last } = await of.lookAtNext(words);
  if (last === undefined || matches.length >= limit) return { rows: matches, end: last };
  const ids = await of.findIds(words);
  return ids.length > MAX_FOUND ? { rows: matches, end: last } : { rows: await of.list(ids) };
}
