import { createHmac, timingSafeEqual } from 'node:crypto';
import { Injectable } from '@nestjs/common';
import { Config } from '../config/config.js';
import { InvalidCursor } from '../problems/problems.errors.js';

export interface Page<T> {
  data: T[];
  nextCursor: string | null;
}

/** Where a page ends: the values of the columns that the list is sorted by. */
export type Position = (string | number)[];

/** A cursor is signed with the name and filters of its list: a cursor of another list, or a made-up one, is refused. */
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
    // The text itself is compared, because base64 has several spellings of the same bytes.
    const given = Buffer.from(cursor);
    const wanted = Buffer.from(this.seal(body, list));
    if (given.length !== wanted.length || !timingSafeEqual(given, wanted)) throw new InvalidCursor();
    return JSON.parse(Buffer.from(body, 'base64url').toString()) as Position;
  }

  readTimeAndId(cursor: string | undefined, list: unknown): { createdAt: string; id: string } | undefined {
    const position = this.read(cursor, list);
    return position && { createdAt: String(position[0]), id: String(position[1]) };
  }

  /**
   * @param rows read one beyond the limit
   * @param list identifies the list: its name, owner and filters
   * @param end where a page that holds fewer rows than the limit ends, although more may follow
   */
  page<T>(rows: T[], { limit, list, position, end }: { limit: number; list: unknown; position: (row: T) => Position; end?: T }): Page<T> {
    const data = rows.slice(0, limit);
    const last = rows.length > limit ? data.at(-1) : end;
    if (last === undefined) return { data, nextCursor: null };
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

function inOrder(_: string, value: unknown): unknown {
  const isPlain = typeof value === 'object' && value !== null && !Array.isArray(value);
  return isPlain ? Object.fromEntries(Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1))) : value;
}
