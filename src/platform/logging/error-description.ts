import { DrizzleQueryError } from 'drizzle-orm';
import { pino } from 'pino';
import { withoutSecrets } from './secret-text.js';

/** What else may be logged of an error. Libraries hang whole requests and responses on theirs. */
const HARMLESS = ['code', 'errno', 'syscall', 'hostname', 'address', 'port', 'status', 'statusCode', 'responseCode', 'name'];
const OF_POSTGRES = ['severity', 'schema', 'table', 'column', 'constraint', 'routine'];

/** Omits what people wrote: Drizzle puts parameters into its message, PostgreSQL whole rows into `detail` and `where`. */
export function describeError(given: Error & { raw?: Error }): object {
  // pino-http passes its own serialized error, with the original error in it.
  const error = given.raw ?? given;
  const failedQuery = causesOf(error).find((cause) => cause instanceof DrizzleQueryError);
  const { type, message, stack, ...more } = pino.stdSerializers.err(failedQuery?.cause ?? error);
  const fields = Object.entries(more).filter(([name, value]) => isHarmless(name) && ['string', 'number', 'boolean'].includes(typeof value));
  return {
    type,
    message: withoutSecrets(message),
    stack: failedQuery === undefined ? withoutSecrets(stack) : framesOf(error),
    ...(failedQuery && { query: failedQuery.query }),
    ...Object.fromEntries(fields),
  };
}

function isHarmless(name: string): boolean {
  return HARMLESS.includes(name) || OF_POSTGRES.includes(name);
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
