import type { Narrowed } from './crawl.js';

/** A place in the sources, found by its declaration, so that it survives formatting and moved files. */
export interface Place {
  /** The declaration at the top of a file: `ApiKeysRepository.list`, `selectOfOwner`. */
  within: string;
  /** Occurs in the declaration exactly once. */
  search: string;
}

/** A change that breaks something that tests must notice. */
export interface Mutation extends Place {
  replace: string;
}

/** A guard or tenant predicate that is taken out, with the calls that show it: in `test/<module>/<module>.mutations.ts`. */
export interface TenancyMutation extends Mutation, Narrowed {}

/** A tenant predicate that no request can tell from its absence. */
export interface UnreachablePredicate extends Place {
  because: string;
}

/** Drizzle drops undefined conditions. */
export const NO_CONDITION = 'undefined';

export function nameOf({ within, search }: Place): string {
  return `${within}: ${search.trim()}`;
}
