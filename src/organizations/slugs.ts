/** Names that the product uses in addresses, or that could deceive its customers. */
const RESERVED = new Set(
  'admin api app assets auth billing blog by-slug docs health help login logout metrics new null openapi operator organizations public root security settings sign-in sign-up signin signup static status support system tenantry undefined users v1 webhooks www'.split(
    ' ',
  ),
);

/** Letters that Unicode normalisation does not split into a plain letter and an accent. */
const LETTERS: Record<string, string> = { ß: 'ss', æ: 'ae', œ: 'oe', ø: 'o', ł: 'l', đ: 'd', ð: 'd', þ: 'th', ı: 'i' };

const MAX_LENGTH = 48;
const MIN_LENGTH = 2;

/** Returns undefined for a text without two usable characters. */
export function normaliseSlug(text: string): string | undefined {
  const slug = text
    .normalize('NFKD')
    .toLowerCase()
    .replaceAll(/\p{M}/gu, '')
    .replaceAll(/[ßæœøłđðþı]/g, (letter) => LETTERS[letter]!)
    .replaceAll(/[^a-z0-9]+/g, '-')
    .slice(0, MAX_LENGTH)
    .replaceAll(/^-+|-+$/g, '');
  return slug.length < MIN_LENGTH ? undefined : slug;
}

/** The table checks the same rule. */
export function isSlug(text: string): boolean {
  return /^[a-z0-9]([a-z0-9-]*[a-z0-9])?$/.test(text);
}

export function isReservedSlug(slug: string): boolean {
  return RESERVED.has(slug);
}

/** Best first. */
export function slugAlternatives(slug: string, random: string): string[] {
  const base = slug.slice(0, MAX_LENGTH - 7).replace(/-+$/, '');
  return [...[2, 3, 4, 5, 6, 7, 8, 9].map((number) => `${base}-${number}`), `${base}-${random}`];
}
