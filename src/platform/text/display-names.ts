import { applyDecorators } from '@nestjs/common';
import { ApiProperty } from '@nestjs/swagger';
import { Transform } from 'class-transformer';
import { ValidateBy } from 'class-validator';

/** Characters that hide or move text: controls, line separators, bidi controls, invisible, private and unpaired characters. */
const HIDDEN = /[\p{Cc}\p{Zl}\p{Zp}\p{Co}\p{Cs}\p{Noncharacter_Code_Point}\p{Default_Ignorable_Code_Point}\p{Bidi_Control}\uFFF9-\uFFFB]/v;

/** Letters and marks of scripts whose spelling needs the zero-width joiner or non-joiner after them. */
const JOINING =
  String.raw`[\p{scx=Arab}\p{scx=Syrc}\p{scx=Nko}\p{scx=Mong}\p{scx=Deva}\p{scx=Beng}\p{scx=Guru}\p{scx=Gujr}\p{scx=Orya}\p{scx=Taml}` +
  String.raw`\p{scx=Telu}\p{scx=Knda}\p{scx=Mlym}\p{scx=Sinh}\p{scx=Khmr}\p{scx=Mymr}\p{scx=Tibt}\p{scx=Bali}\p{scx=Java}\p{scx=Adlm}]`;

/** Characters of HIDDEN in the places where scripts and emoji need them. */
const NEEDED = new RegExp(
  [
    String.raw`(?<=\u{1F3F4})[\u{E0020}-\u{E007E}]{1,8}\u{E007F}`,
    // Joined emoji, such as families and professions.
    String.raw`(?<=[\p{Extended_Pictographic}\p{Emoji_Modifier}]\uFE0F?|\u{E007F})\u200D(?=\p{Extended_Pictographic})`,
    // One joiner after a letter or mark of a script that uses it.
    String.raw`(?<=[${JOINING}&&[\p{L}\p{M}]])[\u200C\u200D](?![\u200C\u200D])`,
    // One variation selector after the character that it varies.
    String.raw`(?<=[[\p{L}\p{N}\p{P}\p{S}]--\p{Default_Ignorable_Code_Point}])[\uFE00-\uFE0F\u{E0100}-\u{E01EF}\u180B-\u180D\u180F](?!\p{Variation_Selector})`,
    // The Mongolian vowel separator.
    String.raw`(?<=\p{Script=Mongolian})\u180E(?=\p{Script=Mongolian})`,
  ].join('|'),
  'gv',
);

/** Shows something by itself; U+2800 is a braille pattern without dots. */
const VISIBLE = /[[\p{L}\p{N}\p{P}\p{S}]--[\p{Default_Ignorable_Code_Point}\u2800]]/v;

export function normaliseName(text: string): string {
  return text.normalize('NFC').trim();
}

export function hasHiddenCharacters(text: string): boolean {
  return HIDDEN.test(text.replaceAll(NEEDED, ''));
}

/** Why a normalised text is no name for people to read; undefined for one that is. Lengths are in code points. */
export function nameProblem(text: string, max: number): string | undefined {
  if (text.length > 2 * max || Array.from(text).length > max || text === '') return `must be 1 to ${max} characters long`;
  if (hasHiddenCharacters(text)) return 'must not contain control, invisible or direction-changing characters';
  return VISIBLE.test(text) ? undefined : 'must show at least one character';
}

/** A name from a provider, which is cleaned and never refused; empty where nothing of it can be seen. */
export function cleanDisplayName(text: string, max: number): string {
  let name = text.slice(0, 8 * max);
  // Cutting and composing can leave a joiner that joins nothing, so repeat until nothing changes.
  for (let before; before !== name;) {
    before = name;
    name = normaliseName(
      Array.from(normaliseName(withoutHidden(name)))
        .slice(0, max)
        .join(''),
    );
  }
  return VISIBLE.test(name) ? name : '';
}

function withoutHidden(text: string): string {
  const needed = new Set(
    Array.from(text.matchAll(NEEDED), ({ index, 0: { length } }) => Array.from({ length }, (_, n) => index + n)).flat(),
  );
  let at = 0;
  return Array.from(text, (character) => {
    const isNeeded = needed.has(at);
    at += character.length;
    if (isNeeded) return character;
    return /\s/.test(character) ? ' ' : HIDDEN.test(character) ? '' : character;
  }).join('');
}

export const IsDisplayName = (max: number): PropertyDecorator =>
  applyDecorators(
    Transform(({ value }: { value: unknown }) => (typeof value === 'string' ? normaliseName(value) : value)),
    ValidateBy({
      name: 'isDisplayName',
      validator: {
        validate: (value) => typeof value === 'string' && nameProblem(value, max) === undefined,
        defaultMessage: (shown) => `$property ${typeof shown?.value === 'string' ? nameProblem(shown.value, max) : 'must be a text'}`,
      },
    }),
    ApiProperty({ minLength: 1, maxLength: max }),
  );

/** Whether a text can identify something for machines, such as a model: different identifiers must look different. */
export function isIdentifierText(text: string): boolean {
  return text === normaliseName(text) && !HIDDEN.test(text) && !/[^\S ]/.test(text) && VISIBLE.test(text);
}

export const IDENTIFIER_TEXT =
  'must be in composed form (NFC), without white space at its ends and without control or invisible characters';

export const IsIdentifierText = (): PropertyDecorator =>
  ValidateBy({
    name: 'isIdentifierText',
    validator: {
      validate: (value) => typeof value === 'string' && isIdentifierText(value),
      defaultMessage: () => `$property ${IDENTIFIER_TEXT}`,
    },
  });
