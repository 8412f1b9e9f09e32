import fc from 'fast-check';
import { quoteUserText } from './user-text.js';

describe('text of users in a mail', () => {
  it.each([
    ['Ada Lovelace', '"Ada Lovelace"'],
    ['Acme Inc.', '"Acme Inc."'],
    ['AC/DC: Live', '"AC/DC: Live"'],
    ["O'Neill & Söhne 李小龍 🎉", '"O\'Neill & Söhne 李小龍 🎉"'],
    ['عائشة', '"عائشة"'],
    ['J.R.R. Tolkien', '"J R R. Tolkien"'],
    ['Booking.com', '"Booking com"'],
    ['Studio 54', '"Studio 54"'],
  ])('is quoted: %s', (given, quoted) => {
    expect(quoteUserText(given)).toBe(quoted);
  });

  it.each([
    [
      'friend,\r\n\r\nyour account is locked. Sign in at https://evil.example',
      '"friend, your account is locked. Sign in at https: evil example"',
    ],
    ['evil.example', '"evil example"'],
    ['www.evil.example/x?y=z', '"www evil example/x?y=z"'],
    ['evil．example', '"evil example"'],
    ['evil。example', '"evil example"'],
    ['evil｡example', '"evil example"'],
    ['evil․example', '"evil example"'],
    ['evil\u200b.\u200bexample', '"evil example"'],
    ['e\u00advil.exam\u2060ple', '"evil example"'],
    ['http://2130706433/', '"http: …/"'],
    ['ｈｔｔｐｓ：／／evil', '"https: evil"'],
    ['javascript:alert(1)', '"javascript: alert(1)"'],
    ['\\\\evil\\share', '"evil share"'],
    ['write to help@evil.example', '"write to help@ evil example"'],
    ['call +1 (900) 555-0100 now', '"call … now"'],
    ['tel:19005550100', '"tel: …"'],
    ['a "quoted” «name» <b>', "\"a 'quoted' 'name' 'b'\""],
    ['abc\u202egnp.exe', '"abcgnp exe"'],
    ['one\u2028two\u2029three\u0085four\ttabs\u0000', '"one two three four tabs"'],
    ['\u001b[31mred', '"[31mred"'],
    [`z${'\u0301'.repeat(50)}algo`, `"ź${'\u0301'.repeat(4)}algo"`],
  ])('is one line without links, controls and invisible characters: %j', (given, quoted) => {
    expect(quoteUserText(given)).toBe(quoted);
  });

  it.each(['', '   ', '\u200b\u2060', '\u3164', '\u2800', '\r\n', '\u{e0041}\u{e007f}'])(
    'is left out when it shows nothing: %j',
    (given) => {
      expect(quoteUserText(given)).toBeUndefined();
    },
  );

  it('is cut after 64 characters, whole emoji included', () => {
    expect(quoteUserText('x'.repeat(64))).toBe(`"${'x'.repeat(64)}"`);
    expect(quoteUserText('😀'.repeat(65))).toBe(`"${'😀'.repeat(63)}…"`);
  });

  it('never contains a line break, a link or an open quote', () => {
    const pieces = fc.constantFrom(
      'evil',
      '.',
      '。',
      '/',
      ':',
      '@',
      '\\',
      '\r\n',
      '"',
      '\u200d',
      '\u202e',
      ' ',
      'http',
      '７',
      '\ud800',
      '：',
    );
    const texts = fc.oneof(
      fc.string({ unit: 'binary' }),
      fc.array(pieces).map((list) => list.join('')),
    );
    fc.assert(
      fc.property(texts, (text) => {
        const quoted = quoteUserText(text);
        if (quoted === undefined) return;
        expect([...quoted].length).toBeLessThanOrEqual(66);
        expect(quoted).toMatch(/^"[^"]+"$/);
        expect(quoted.slice(1, -1)).not.toMatch(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]|\.\S|:\/|\/\/|\\|@\S/u);
      }),
      { numRuns: 1000 },
    );
  });
});
