import { uncleanFields } from './clean-input.js';

/** An object in an object, so many levels deep. */
function nested(levels: number): object {
  return levels === 1 ? {} : { a: nested(levels - 1) };
}

describe('input from outside', () => {
  it('may be nested 32 levels deep, and no level deeper', () => {
    expect(uncleanFields(nested(32), 'body')).toEqual([]);
    expect(uncleanFields(nested(33), 'body')).toEqual([
      { path: `body${'.a'.repeat(32)}`, message: 'must not be nested deeper than 32 levels' },
    ]);
  });
});
