/** What an API key may do, as `noun:verb`. */
export type Scope = `${string}:${string}`;

const scopes = new Set<Scope>();

/** `@Scopes()` calls it, so that modules list their scopes nowhere else. */
export function declareScopes(...names: Scope[]): void {
  for (const name of names) scopes.add(name);
}

/** Every scope that a route requires, in alphabetical order. Complete once all modules are loaded. */
export function declaredScopes(): Scope[] {
  return [...scopes].sort();
}
