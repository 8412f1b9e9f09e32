import { createHmac, timingSafeEqual } from 'node:crypto';
import { Injectable } from '@nestjs/common';
import { Config } from '../config/config.js';
import { InvalidCursor } from '../problems/problems.errors.js';

/** A page of a list: what every list answers. */
export interface Page<T> {
  data: T[];
  nextCursor: string | null;
}

/** Where a page ends: the values of the columns that the list is sorted by. */
export type Position = (string | number)[];

/**
 * Makes and reads cursors. A cursor is signed together with the list it was made for (its name and its
 * filters), so that one of another list, another filter or of somebody's own making is refused.
 */
@Injectable()
export class Cursors {
  private readonly key: Buffer;

  constructor(config: Config) {
    this.key = createHmac('sha256', config.authSecret).update('cursors').digest();
  }

  /** @throws {InvalidCursor} when it was not made by `page` for the same list */
  read(cursor: string | undefined, list: unknown): Position | undefined {
    if (cursor === undefined) return undefined;
    const body = cursor.slice(0, Math.max(0, cursor.indexOf('.')));
    // The whole text, not what it decodes to: base64 has several spellings of the same bytes.
    const given = Buffer.from(cursor);
    const wanted = Buffer.from(this.seal(body, list));
    if (given.length !== wanted.length || !timingSafeEqual(given, wanted)) throw new InvalidCursor();
    return JSON.parse(Buffer.from(body, 'base64url').toString()) as Position;
  }

  /** As `read`, for lists sorted by time of creation and id. */
  readTimeAndId(cursor: string | undefined, list: unknown): { createdAt: string; id: string } | undefined {
    const position = this.read(cursor, list);
    return position && { createdAt: String(position[0]), id: String(position[1]) };
  }

  /**
   * Cuts a page from rows that were read one beyond the limit.
   *
   * @param list everything that makes this list another one: its name, owner and filters
   */
  page<T>(rows: T[], { limit, list, position }: { limit: number; list: unknown; position: (row: T) => Position }): Page<T> {
    const data = rows.slice(0, limit);
    const last = data.at(-1);
    if (rows.length <= limit || last === undefined) return { data, nextCursor: null };
    const body = Buffer.from(JSON.stringify(position(last))).toString('base64url');
    return { data, nextCursor: this.seal(body, list) };
  }

  private seal(body: string, list: unknown): string {
    const signature = createHmac('sha256', this.key)
      .update(`${body}.${JSON.stringify(list, inOrder)}`)
      .digest()
      .subarray(0, 16);
    return `${body}.${signature.toString('base64url')}`;
  }
}

/** Filters are the same ones in whatever order the query names them. */
function inOrder(_: string, value: unknown): unknown {
  const isPlain = typeof value === 'object' && value !== null && !Array.isArray(value);
  return isPlain ? Object.fromEntries(Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1))) : value;
}
