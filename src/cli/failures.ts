import { DrizzleQueryError } from 'drizzle-orm';
import { isDatabaseUnavailable } from '../platform/database/database-errors.js';

/** Prints why a command failed, without a stack trace, and sets the exit code. */
export function reportFailure(error: unknown, exitCode: number): void {
  const unavailable = isDatabaseUnavailable(error) ? 'The database is unavailable: ' : '';
  process.stderr.write(`${unavailable}${messageOf(error)}\n`);
  process.exitCode = exitCode;
}

function messageOf(error: unknown): string {
  if (error instanceof AggregateError) return error.errors.map(messageOf).join('; ');
  // Drizzle's own message holds the parameters of the statement, which can be secret.
  if (error instanceof DrizzleQueryError) return messageOf(error.cause);
  return error instanceof Error ? error.message : String(error);
}
