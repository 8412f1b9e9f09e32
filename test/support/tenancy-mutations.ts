import { collect, expectedFile } from './collect.js';
import type { TenancyMutation, UnreachablePredicate } from './mutations.js';
import { locate, sourcesOf } from './sources.js';

const COLLECTED = await collect<{ mutations?: TenancyMutation[]; unreachable?: UnreachablePredicate[] }>('mutations');

export const MUTATIONS = COLLECTED.flatMap(([, { mutations = [] }]) => mutations);
export const UNREACHABLE = COLLECTED.flatMap(([, { unreachable = [] }]) => unreachable);

/** Says which tenant or user a row belongs to. */
export const PREDICATE = /(?:eq|isOneOf)\(\w+\.(?:organizationId|userId|ownerId), \w+\)|ownedBy\(\w+, \w+\.ownerId\)/g;

/** Predicates of the repositories that no module has a mutation for, and where to add one. */
export function unmutatedPredicates(places: (TenancyMutation | UnreachablePredicate)[] = [...MUTATIONS, ...UNREACHABLE]): string[] {
  const known = places.map(locate);
  return sourcesOf('repository').flatMap(({ file, text }) =>
    [...text.matchAll(PREDICATE)]
      .filter(({ index }) => !known.some((place) => place.file === file && place.start <= index && index < place.end))
      .map(({ 0: predicate, index }) => {
        const line = text.slice(0, index).split('\n').length;
        return `${file}:${line}: no mutation takes out ${predicate}; add one to ${expectedFile(file, 'mutations')}`;
      }),
  );
}
