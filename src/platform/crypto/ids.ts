import { NIL, v7 } from 'uuid';

/** Sorts before every other id. */
export const FIRST_ID = NIL;

/** A UUIDv7: sorts by the time it was made. */
export function newId(): string {
  return v7();
}

const UUID = /^[\da-f]{8}-[\da-f]{4}-[\da-f]{4}-[\da-f]{4}-[\da-f]{12}$/i;

/** For guards, which run before pipes. */
export function isId(text: unknown): text is string {
  return typeof text === 'string' && UUID.test(text);
}
