import fc from 'fast-check';
import { Config } from '../config/config.js';
import { InvalidCursor } from '../problems/problems.errors.js';
import { Cursors, type Position } from './cursors.service.js';

const withSecret = (authSecret: string) => new Cursors(Object.assign(Object.create(Config.prototype) as Config, { authSecret }));
const cursors = withSecret('one secret');

const positions = fc.array(fc.oneof(fc.string({ unit: 'binary' }), fc.integer()), { minLength: 1 });
const lists = fc.jsonValue();

const cursorOf = (position: Position, list: unknown, made = cursors) =>
  made.page([1, 2], { limit: 1, list, position: () => position }).nextCursor!;

describe('cursors', () => {
  it('read as the position they were made from', () => {
    fc.assert(
      fc.property(positions, lists, (position, list) => {
        expect(cursors.read(cursorOf(position, list), list)).toEqual(position);
      }),
    );
  });

  it('are refused by another list', () => {
    fc.assert(
      fc.property(positions, lists, lists, (position, list, other) => {
        fc.pre(JSON.stringify(list) !== JSON.stringify(other));
        expect(() => cursors.read(cursorOf(position, list), other)).toThrow(InvalidCursor);
      }),
    );
  });

  it('are refused when they are forged or changed', () => {
    fc.assert(
      fc.property(positions, fc.string(), (position, tail) => {
        expect(() => cursors.read(cursorOf(position, 'list', withSecret('another secret')), 'list')).toThrow(InvalidCursor);
        expect(() => cursors.read(`x${cursorOf(position, 'list')}`, 'list')).toThrow(InvalidCursor);
        expect(() => cursors.read(tail, 'list')).toThrow(InvalidCursor);
      }),
    );
  });

  it('are only made where there is more', () => {
    fc.assert(
      fc.property(fc.array(fc.integer(), { maxLength: 8 }), fc.integer({ min: 1, max: 8 }), (rows, limit) => {
        const { data, nextCursor } = cursors.page(rows, { limit, list: 'list', position: (row) => [row] });
        expect(data).toEqual(rows.slice(0, limit));
        expect(nextCursor !== null).toBe(rows.length > limit);
      }),
    );
  });
});
