import type { Answer } from './simulated-api.js';

/** Error responses as Polar's server sends them (server/polar/exception_handlers.py). */
export const refusal = (status: number, error: string, detail: unknown, headers?: Record<string, string>): Answer => ({
  status,
  body: { error, detail },
  headers,
});

export const notFound = () => refusal(404, 'ResourceNotFound', 'Not found');

/** The position, the message and the value of an error in a request. */
export type ValidationError = [loc: (string | number)[], msg: string, input: unknown];

export const invalid = (...error: ValidationError) => invalidAll([error]);

export const invalidAll = (all: ValidationError[]) =>
  refusal(
    422,
    'RequestValidationError',
    all.map(([loc, msg, input]) => ({ type: 'value_error', loc, msg, input: input ?? null })),
  );

export const isUuid = (text: string) => /^[\da-f]{8}-[\da-f]{4}-4[\da-f]{3}-[89ab][\da-f]{3}-[\da-f]{12}$/i.test(text);
