import { MalformedPayload } from './webhook-provider.port.js';

const MAX_DEPTH = 64;

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/** Parses a signed body. @throws {MalformedPayload} if it is not JSON in UTF-8, nested too deep, or tries to pollute a prototype */
export function parsePayload(body: Buffer): unknown {
  let payload: unknown;
  try {
    payload = JSON.parse(utf8.decode(body));
  } catch {
    // The parser's message quotes the body.
    throw new MalformedPayload('The body is not JSON in UTF-8');
  }
  rejectUnsafe(payload, 0);
  return payload;
}

function rejectUnsafe(value: unknown, depth: number): void {
  if (typeof value !== 'object' || value === null) return;
  if (depth >= MAX_DEPTH) throw new MalformedPayload(`The body is nested deeper than ${MAX_DEPTH} levels`);
  for (const [key, child] of Object.entries(value)) {
    if (key === '__proto__') throw new MalformedPayload('The body has a forbidden key: __proto__');
    rejectUnsafe(child, depth + 1);
  }
}

const SECRET_NAME = /token|secret|passw|otp|code|ticket|credential|authorization|cookie|private_metadata|^body|^url$|^key$|_key$/i;

export function maskSecrets(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(maskSecrets);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(
    Object.entries(value).map(([key, child]) => [key, SECRET_NAME.test(key) && child !== null ? '[masked]' : maskSecrets(child)]),
  );
}
