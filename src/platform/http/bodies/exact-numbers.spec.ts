import fc from 'fast-check';
import { INEXACT_NUMBER, parseWithExactNumbers } from './exact-numbers.js';

const parsed = (number: string) => (parseWithExactNumbers(`{"a": [${number}]}`) as { a: [unknown] }).a[0];

describe('numbers in JSON', () => {
  it.each([
    '0',
    '-0',
    '0.0',
    '0e0',
    '0.000e-400',
    '1',
    '-1',
    '1.0',
    '1.50',
    '0.1',
    '1e5',
    '1E+5',
    '1e-7',
    '5e-324',
    '1.7976931348623157e308',
    '9007199254740991',
    '9007199254740992',
    '-9007199254740991',
    '12345678901234567000',
    '100000000000000000000000',
    '1e21',
    '1e22',
    '0.30000000000000004',
    '0.12345678901234568',
    '1.000000000000000000',
    '123456789012345.0',
    '0.0000000000000000001',
    '120e-2',
  ])('keep %s', (number) => expect(parsed(number)).toBe(JSON.parse(number)));

  it.each([
    '9007199254740993',
    '12345678901234567890',
    '-12345678901234567890',
    '1e400',
    '-1e400',
    '1e-400',
    '1e99999999999',
    '1e308999',
    '0.1234567890123456789',
    '1.0000000000000000001',
    '0.10000000000000000000001',
    '1234567890.123456789',
    '4.9e-324',
    '1e-324',
  ])('mark %s', (number) => expect(parsed(number)).toBe(INEXACT_NUMBER));

  it('are unchanged in every document that JavaScript wrote', () => {
    fc.assert(
      fc.property(fc.jsonValue({ maxDepth: 4 }), (value) => {
        for (const json of [JSON.stringify(value), JSON.stringify(value, undefined, 2)])
          expect(parseWithExactNumbers(json)).toEqual(JSON.parse(json));
      }),
    );
  });

  it('are not changed inside strings and keys', () => {
    const json =
      '{"12345678901234567890": "12345678901234567890", "a\\"": "b\\\\", "c": ": 12345678901234567890,", "d": ["\\u0022 ,1e999 "]}';
    expect(parseWithExactNumbers(json)).toEqual(JSON.parse(json));
    expect(parseWithExactNumbers(json.replace('"d": [', '"d": [1e999, '))).toEqual(
      JSON.parse(json.replace('"d": [', '"d": ["\\u0000inexact number", ')),
    );
  });

  it('are left to the parser in invalid JSON', () => {
    for (const json of [
      '{"a": 1e}',
      '{"a": 1.2.3444444444444444}',
      '{"a": 00000000000000000000001}',
      '{"a": 1-2345678901234567890}',
      '{"a": "x',
    ])
      expect(() => parseWithExactNumbers(json)).toThrow(SyntaxError);
  });

  it('take no longer in a malicious document than in another of its size', () => {
    const size = 300_000;
    // Each would take minutes if its time grew with the square of its size.
    expect(() => parseWithExactNumbers(`{"a":12345678901234567 ${String.raw`\"`.repeat(size)}`)).toThrow(SyntaxError);
    expect(parsed(`1${'0'.repeat(size)}1`)).toBe(INEXACT_NUMBER);
    expect(parsed(`0.${'0'.repeat(size)}1${'0'.repeat(size)}1`)).toBe(INEXACT_NUMBER);
    expect(parseWithExactNumbers(`["${String.raw`\"`.repeat(size)}", 1e999]`)).toHaveLength(2);
  });
});
