import type { Answer } from './simulated-api.js';

/** How Polar's server refuses (server/polar/exception_handlers.py). */
export const refusal = (status: number, error: string, detail: unknown, headers?: Record<string, string>): Answer => ({
  status,
  body: { error, detail },
  headers,
});

export const missing = () => refusal(404, 'ResourceNotFound', 'Not found');

/** Where something is wrong in a request, what, and what was given. */
export type Wrong = [loc: (string | number)[], msg: string, input: unknown];

export const invalid = (...wrong: Wrong) => invalidInAll([wrong]);

export const invalidInAll = (all: Wrong[]) =>
  refusal(
    422,
    'RequestValidationError',
    all.map(([loc, msg, input]) => ({ type: 'value_error', loc, msg, input: input ?? null })),
  );

export const isUuid = (text: string) => /^[\da-f]{8}-[\da-f]{4}-4[\da-f]{3}-[89ab][\da-f]{3}-[\da-f]{12}$/i.test(text);
