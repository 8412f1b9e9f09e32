import fc from 'fast-check';
import { countValues } from './json-body.js';

/** Of a document, itself included. An empty list or object counts twice. */
function valuesIn(value: unknown): number {
  if (typeof value !== 'object' || value === null) return 1;
  const parts = Object.values(value);
  return parts.length === 0 ? 2 : parts.reduce<number>((sum, part) => sum + valuesIn(part), 1);
}

describe('the number of values in a JSON body', () => {
  it('is exact for any strings and keys', () => {
    fc.assert(
      fc.property(fc.jsonValue({ maxDepth: 6, stringUnit: 'binary' }), (value) => {
        for (const text of [JSON.stringify(value), JSON.stringify(value, undefined, 3)]) {
          const body = Buffer.from(` ${text}`);
          expect(countValues(body, body.length - 1)).toBe(valuesIn(value));
        }
      }),
    );
  });

  it('ignores commas, brackets and quotes inside strings', () => {
    expect(countValues(Buffer.from(JSON.stringify({ a: ',,,[[[{{{"\\",\\' })), 5)).toBe(2);
    expect(countValues(Buffer.from(JSON.stringify({ ',[{': 1, '\\"': [2, 3] })), 9)).toBe(5);
  });

  it('is counted up to the bound only, also in invalid JSON', () => {
    expect(countValues(Buffer.from('['.repeat(1_000_000)), 10)).toBe(11);
    expect(countValues(Buffer.from(`"${'['.repeat(1000)}`), 10)).toBe(1);
  });
});
