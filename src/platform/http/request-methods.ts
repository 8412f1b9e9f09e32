const KNOWN = new Set(['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS']);

/** For labels and names, which must not hold text of a caller. */
export function isKnownMethod(method: string): boolean {
  return KNOWN.has(method);
}
