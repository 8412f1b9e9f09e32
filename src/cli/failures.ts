import { DrizzleQueryError } from 'drizzle-orm';
import { DATA_DIRECTORY } from '../platform/config/local-environment.js';
import { isDatabaseUnavailable } from '../platform/database/database-errors.js';

/** Mistakes in the program itself, which need their stack trace. */
const DEFECTS = [TypeError, ReferenceError, RangeError];

interface Failure {
  /** Only PostgreSQL sets it. */
  severity?: unknown;
  path?: unknown;
  syscall?: unknown;
}

/** The server cannot listen. Its cause would be mistaken for one of the database. */
export class CannotListen extends Error {
  constructor({ host, port }: { host: string; port: number }, cause: unknown) {
    const { code } = cause as NodeJS.ErrnoException;
    super(
      code === 'EADDRINUSE'
        ? `Port ${port} is in use. Stop the program that uses it, or set PORT to another.`
        : `The server cannot listen on ${host}, port ${port} (${messageOf(cause)}). Correct HOST or PORT.`,
    );
  }
}

/** Prints why a command failed, without a stack trace, and sets the exit code. */
export function reportFailure(error: unknown, exitCode: number): void {
  process.stderr.write(`${sentenceOf(error)}\n`);
  process.exitCode = exitCode;
}

/** Prints why the server did not start. */
export function reportFailedStart(error: unknown): void {
  const isDefect = DEFECTS.some((defect) => error instanceof defect);
  process.stderr.write(`${isDefect ? (error as Error).stack : sentenceOf(error)}\n`);
}

function sentenceOf(error: unknown): string {
  const message = messageOf(error);
  if (isDatabaseUnavailable(error)) return `The database is unavailable: ${message}`;
  const { severity, path, syscall } = (error instanceof DrizzleQueryError ? error.cause : error) as Failure;
  if (severity !== undefined) return `The database refused: ${message}`;
  if (typeof path === 'string' && syscall !== undefined && path.startsWith(DATA_DIRECTORY))
    return `The data folder ${DATA_DIRECTORY} cannot be used: ${message}`;
  return message;
}

export function messageOf(error: unknown): string {
  if (error instanceof AggregateError) return error.errors.map(messageOf).join('; ');
  // Drizzle's own message holds the parameters of the statement, which can be secret.
  if (error instanceof DrizzleQueryError) return messageOf(error.cause);
  return error instanceof Error ? error.message : String(error);
}
