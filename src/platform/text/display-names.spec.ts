import fc from 'fast-check';
import { cleanDisplayName, isIdentifierText, nameProblem, normaliseName } from './display-names.js';

/** Names that people have, and emoji that they put into them. */
const NAMES = [
  'Ada Lovelace',
  "Sinéad O'Connor",
  'Nguyễn Thị Minh Khai',
  '王小明',
  'Мария-Луиза',
  'محمد بن سلمان',
  'می\u200Cخواهم',
  'ه\u200D',
  'क्\u200Dष',
  'അവന്\u200D',
  'ක්\u200Dරි',
  'ᠰᠠᠷ\u180Eᠠ',
  '葛\u{E0100}城',
  'Family 👨\u200D👩\u200D👧\u200D👦',
  '👩🏽\u200D🚀',
  '🏳\uFE0F\u200D🌈',
  '❤\uFE0F',
  '1\uFE0F⃣ Team',
  '🏴\u{E0067}\u{E0062}\u{E0065}\u{E006E}\u{E0067}\u{E007F}',
  'O₂ & Söhne GmbH™',
  '#!',
];

const HIDING: [string, string][] = [
  ['a zero-width space', '\u200B'],
  ['a word joiner', '\u2060'],
  ['a soft hyphen', '\u00AD'],
  ['a byte order mark', '\uFEFF'],
  ['a left-to-right mark', '\u200E'],
  ['an Arabic letter mark', '\u061C'],
  ['a right-to-left override', '\u202E'],
  ['a right-to-left isolate', '\u2067'],
  ['a line feed', '\n'],
  ['a carriage return and a line feed', '\r\n'],
  ['an escape sequence', '\x1B[31m'],
  ['DEL', '\x7F'],
  ['a C1 control', '\x85'],
  ['a line separator', '\u2028'],
  ['a paragraph separator', '\u2029'],
  ['a tag character', '\u{E0041}'],
  ['a joiner between Latin letters', '\u200D'],
  ['a non-joiner between Latin letters', '\u200C'],
  ['a Hangul filler', '\u3164'],
  ['a half-width Hangul filler', '\uFFA0'],
  ['a private character', '\uE000'],
  ['an unpaired surrogate', '\uD800'],
  ['a noncharacter', '\u{1FFFF}'],
  ['an interlinear annotation', '\uFFF9'],
  ['two variation selectors', '\uFE0F\uFE0E'],
];

describe('a display name', () => {
  it.each(NAMES)('is %s', (name) => {
    expect(nameProblem(normaliseName(name), 200)).toBeUndefined();
    expect(cleanDisplayName(name, 200)).toBe(normaliseName(name));
  });

  it.each(HIDING)('does not have %s', (_, hidden) => {
    expect(nameProblem(`ab${hidden}cd`, 200)).toBe('must not contain control, invisible or direction-changing characters');
    expect(nameProblem(cleanDisplayName(`ab${hidden}cd`, 200), 200)).toBeUndefined();
    expect(cleanDisplayName(hidden.repeat(3), 200).replace(/^\[31m.*/, '')).toBe('');
  });

  it.each(['', '\u200B\u2060', '\u3164', '\u2800', '\u0301', '\u200D\u200D', '\u{E0041}'])('shows something, which %j does not', (name) => {
    expect(nameProblem(normaliseName(name), 200)).toBeDefined();
    expect(cleanDisplayName(name, 200)).toBe('');
  });

  it('is as long as documented in code points', () => {
    expect(nameProblem('😀'.repeat(200), 200)).toBeUndefined();
    expect(nameProblem('😀'.repeat(201), 200)).toBe('must be 1 to 200 characters long');
    expect(nameProblem('a'.repeat(201), 200)).toBe('must be 1 to 200 characters long');
  });

  it('is trimmed and composed', () => {
    expect(normaliseName(' \u00A0Ame\u0301lie\u3000\n')).toBe('Amélie');
  });

  it('is valid or undefined for every text that a provider sends', () => {
    const piece = fc.oneof(fc.string({ unit: 'binary' }), fc.constantFrom(...NAMES, ...HIDING.map(([, hidden]) => hidden)));
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 8 }), fc.integer({ min: 1, max: 40 }), (pieces, max) => {
        const cleaned = cleanDisplayName(pieces.join(''), max);
        expect(cleaned === '' ? undefined : nameProblem(cleaned, max)).toBeUndefined();
        expect(cleanDisplayName(cleaned, max)).toBe(cleaned);
      }),
      { numRuns: 500 },
    );
  });
});

describe('an identifier', () => {
  it.each(['gpt-5', 'claude opus 4.5', 'mistral/large:2', 'модель'])('is %s', (text) => {
    expect(isIdentifierText(text)).toBe(true);
  });

  it.each([
    'gpt-5 ',
    ' gpt-5',
    'gpt-5\u200B',
    'gpt\u00A05',
    'gpt-5\n',
    'gpt-5\t',
    'gpt\u20605',
    'gpt-5\uFE0F',
    'mode\u0300le',
    '\u200D',
    '',
    ' ',
  ])('is not %j', (text) => {
    expect(isIdentifierText(text)).toBe(false);
  });
});
