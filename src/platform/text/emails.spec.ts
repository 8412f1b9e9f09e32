import fc from 'fast-check';
import { z } from 'zod';
import { isEmail, normaliseEmail } from './emails.js';

describe('an email address', () => {
  it.each([
    ['Ada@Example.COM', 'ada@example.com'],
    [' \r\n\tada@example.com\n', 'ada@example.com'],
    ['\u212Aate@t.test', '\u212Aate@t.test'],
    ['\u0130\u017FJÖRG@t.test', '\u0130\u017FjÖrg@t.test'],
    ['\u00A0ada@t.test\uFEFF', '\u00A0ada@t.test\uFEFF'],
  ])('is stored and compared with only ASCII letters and white space normalised: %j', (given, normalised) => {
    expect(normaliseEmail(given)).toBe(normalised);
  });

  it('keeps every character outside ASCII as it is', () => {
    const outside = (text: string) => Array.from(text).filter((character) => character > '\x7F');
    fc.assert(fc.property(fc.string({ unit: 'binary' }), (text) => expect(outside(normaliseEmail(text))).toEqual(outside(text))));
  });

  it.each([
    'ada@example.com',
    'a@b.co',
    "o'brien+news@sub-domain.example.org",
    '_x-y.z_@1.example',
    'info@xn--bcher-kva.test',
    `${'a'.repeat(64)}@example.com`,
    `a@${`${'b'.repeat(60)}.`.repeat(4)}example`,
  ])('is %s', (address) => {
    expect(isEmail(address)).toBe(true);
  });

  it.each([
    ['nothing', ''],
    ['no domain', 'ada'],
    ['an empty local part', '@example.com'],
    ['two at signs', 'ada@x@example.com'],
    ['a leading dot', '.ada@example.com'],
    ['a trailing dot', 'ada.@example.com'],
    ['two dots', 'a..da@example.com'],
    ['a quoted local part', '"ada"@example.com'],
    ['a space', 'a da@example.com'],
    ['a capital letter: it is not normalised', 'Ada@example.com'],
    ['a line break', 'ada@example.com\nbcc'],
    ['a trailing line break', 'ada@example.com\n'],
    ['letters outside ASCII', 'jörg@example.com'],
    ['the Kelvin sign', '\u212Aate@example.com'],
    ['a zero-width space', 'a\u200Bda@example.com'],
    ['a domain outside ASCII', 'ada@bücher.test'],
    ['a domain without a dot', 'ada@localhost'],
    ['an address literal', 'ada@[127.0.0.1]'],
    ['a number for a top-level domain', 'ada@127.0.0.1'],
    ['an international top-level domain, which Better Auth refuses', 'ada@xn--d1acufc.xn--p1ai'],
    ['a label that begins with a hyphen', 'ada@-a.example'],
    ['a label that ends with a hyphen', 'ada@a-.example'],
    ['an underscore in the domain', 'ada@a_b.example'],
    ['a dot at the end of the domain', 'ada@example.com.'],
    ['a local part of 65 characters', `${'a'.repeat(65)}@example.com`],
    ['a label of 64 characters', `ada@${'b'.repeat(64)}.example`],
    ['255 characters', `abcdefg@${`${'b'.repeat(60)}.`.repeat(4)}com`],
  ])('does not have %s', (_, address) => {
    expect(isEmail(address)).toBe(false);
  });

  it('is one that Better Auth takes, and is normalised already', () => {
    const letters = fc.constantFrom(...Array.from("ab0-_.+'@!xn"));
    const part = fc.string({ unit: letters, minLength: 1, maxLength: 12 });
    fc.assert(
      fc.property(part, part, (local, domain) => {
        const address = `${local}@${domain}.test`;
        fc.pre(isEmail(address));
        expect(z.email().safeParse(address).success).toBe(true);
        expect(normaliseEmail(address)).toBe(address);
      }),
      { maxSkipsPerRun: 1000 },
    );
  });
});
