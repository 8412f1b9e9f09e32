import { DrizzleQueryError } from 'drizzle-orm';
import { pino } from 'pino';

/** Omits what people wrote: Drizzle puts parameters into its message, PostgreSQL whole rows into `detail` and `where`. */
export function describeError(given: Error & { raw?: Error }): object {
  // pino-http passes its own serialized error, with the original error in it.
  const error = given.raw ?? given;
  const failedQuery = causesOf(error).find((cause) => cause instanceof DrizzleQueryError);
  const { type, message, stack, ...more } = pino.stdSerializers.err(failedQuery?.cause ?? error);
  const { detail: _detail, where: _where, ...safe } = more as Record<string, unknown>;
  return failedQuery === undefined
    ? { type, message, stack, ...safe }
    : { type, message, stack: framesOf(error), query: failedQuery.query, ...safe };
}

function causesOf(error: unknown): unknown[] {
  const causes: unknown[] = [];
  for (let current = error; current instanceof Error && causes.length < 5; current = current.cause) causes.push(current);
  return causes;
}

function framesOf({ stack }: Error): string {
  return (stack ?? '')
    .split('\n')
    .filter((line) => line.startsWith('    at '))
    .join('\n');
}
