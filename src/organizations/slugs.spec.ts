import fc from 'fast-check';
import { isReservedSlug, normaliseSlug, slugAlternatives } from './slugs.js';

/** The check constraint `organizations_slug_form`. */
const FORM = /^[a-z0-9]([a-z0-9-]*[a-z0-9])?$/;

describe('normaliseSlug', () => {
  it.each([
    ['Acme', 'acme'],
    ['Acme Inc.', 'acme-inc'],
    ['  Acme   Inc  ', 'acme-inc'],
    ['already-a-slug-2', 'already-a-slug-2'],
    ['a.b/c\\d', 'a-b-c-d'],
    ['../../etc/passwd', 'etc-passwd'],
    ['--a--b--', 'a-b'],
    ['under_score', 'under-score'],
    ['42', '42'],
  ])('makes %j %j', (text, slug) => {
    expect(normaliseSlug(text)).toBe(slug);
  });

  it.each([
    ['Acmé Café', 'acme-cafe'],
    ['Ünïcödé', 'unicode'],
    ['e\u0301toile', 'etoile'],
    ['Straße', 'strasse'],
    ['Smørrebrød Æbler', 'smorrebrod-aebler'],
    ['Łódź', 'lodz'],
    ['İstanbul', 'istanbul'],
    ['ﬁnance', 'finance'],
    ['Ａｃｍｅ', 'acme'],
  ])('takes the accents and forms off %j', (text, slug) => {
    expect(normaliseSlug(text)).toBe(slug);
  });

  it.each(['', ' ', '-', '---', '🚀🚀🚀', '日本', '...///', 'a', '🚀a🚀', '\u200b\u200b'])('finds nothing usable in %j', (text) => {
    expect(normaliseSlug(text)).toBeUndefined();
  });

  it('keeps the letters between emoji', () => {
    expect(normaliseSlug('🚀 Rocket 🚀 Co')).toBe('rocket-co');
  });

  it('cuts at 48 characters and leaves no dash at the cut', () => {
    expect(normaliseSlug('a'.repeat(200))).toBe('a'.repeat(48));
    expect(normaliseSlug(`${'a'.repeat(47)} b`)).toBe('a'.repeat(47));
  });

  it('accepts two characters as the shortest slug', () => {
    expect(normaliseSlug('ab')).toBe('ab');
  });

  it('returns undefined or a slug that the database accepts, and does not change its own output', () => {
    fc.assert(
      fc.property(fc.oneof(fc.string({ unit: 'binary' }), fc.string({ unit: 'grapheme' }), fc.string({ maxLength: 120 })), (text) => {
        const slug = normaliseSlug(text);
        if (slug === undefined) return;
        expect(slug).toMatch(FORM);
        expect(slug.length).toBeGreaterThanOrEqual(2);
        expect(slug.length).toBeLessThanOrEqual(48);
        expect(normaliseSlug(slug)).toBe(slug);
      }),
      { numRuns: 500 },
    );
  });
});

describe('isReservedSlug', () => {
  it.each(['admin', 'api', 'by-slug', 'tenantry', 'www'])('reserves %j', (slug) => {
    expect(isReservedSlug(slug)).toBe(true);
  });

  it('does not reserve slugs that only contain a reserved word', () => {
    expect(isReservedSlug('admins')).toBe(false);
    expect(isReservedSlug('my-api')).toBe(false);
  });
});

describe('slugAlternatives', () => {
  it('appends 2 to 9 first and a random suffix last', () => {
    expect(slugAlternatives('acme', 'k3j4h5')).toEqual([...[2, 3, 4, 5, 6, 7, 8, 9].map((number) => `acme-${number}`), 'acme-k3j4h5']);
  });

  it('returns only slugs that the database accepts and that are not reserved', () => {
    const slugs = fc.stringMatching(/^[a-z0-9]([a-z0-9-]{0,46}[a-z0-9])?$/);
    fc.assert(
      fc.property(slugs, fc.stringMatching(/^[a-z0-9]{6}$/), (slug, random) => {
        for (const alternative of slugAlternatives(slug, random)) {
          expect(alternative).toMatch(FORM);
          expect(alternative.length).toBeLessThanOrEqual(48);
          expect(isReservedSlug(alternative)).toBe(false);
        }
      }),
    );
  });
});
