function databaseErrorOf(error: unknown): DatabaseError | undefined {
  let current = error as Failure | undefined | null;
  for (let depth = 0; typeof current === 'object' && current !== null && depth < 5; depth += 1) {
    const { code, constraint, severity, message, routine } = current;
    if (typeof code === 'string' && (severity !== undefined || isNetworkError(current))) return { code, constraint, routine };
    if (typeof message === 'string' && CONNECTION_MESSAGES.test(message)) return { code: 'ECONNRESET' };
    current = current.cause;
  }
  return undefined;
}

interface DatabaseError {
  code: string;
  constraint?: string;
  /** The function of PostgreSQL that raised it. A pooler such as PgBouncer sends none. */
  routine?: string;
}

/** By shape, not by class: a test runner gives errors of Node modules another realm. */
interface Failure extends Omit<DatabaseError, 'code'> {
  code?: unknown;
  severity?: string;
  syscall?: string;
  message?: unknown;
  cause?: Failure;
}

/** ENOENT is a missing socket of PostgreSQL only when connecting; a missing file is another fault. */
function isNetworkError({ code, syscall }: Failure): boolean {
  return code === 'ENOENT' ? syscall === 'connect' : NETWORK_ERRORS.has(code as string);
}

export function isUniqueViolation(error: unknown, constraint: string): boolean {
  const failure = databaseErrorOf(error);
  return failure?.code === '23505' && failure.constraint === constraint;
}

export function isMissingPartition(error: unknown): boolean {
  const failure = databaseErrorOf(error);
  // Check constraints have the same code, and a name.
  return failure?.code === '23514' && failure.constraint === undefined;
}

export function isDeadlock(error: unknown): boolean {
  return CONCURRENCY_CODES.has(databaseErrorOf(error)?.code ?? '');
}

/** Whether a statement failed only because an earlier one of its transaction had failed. */
export function isInFailedTransaction(error: unknown): boolean {
  return databaseErrorOf(error)?.code === '25P02';
}

/** A row changed since the transaction read it. A new transaction sees the change. */
export class ConcurrencyConflict extends Error {}

export function isRetryable(error: unknown): boolean {
  if (error instanceof ConcurrencyConflict) return true;
  const code = databaseErrorOf(error)?.code;
  return code !== undefined && (CONCURRENCY_CODES.has(code) || code === '23505' || code === '23503');
}

/**
 * Whether a prepared statement is unknown to its connection, or its result type changed with a migration. It works on
 * another connection. The code 0A000 alone means a statement that PostgreSQL never runs, so the routine must match:
 * https://github.com/postgres/postgres/blob/REL_18_STABLE/src/backend/utils/cache/plancache.c
 */
export function isStaleStatement(error: unknown): boolean {
  const failure = databaseErrorOf(error);
  return failure?.code === '26000' || (failure?.code === '0A000' && failure.routine === 'RevalidateCachedQuery');
}

/**
 * Whether the database cannot be reached or used, as opposed to having refused a statement.
 * Codes: https://www.postgresql.org/docs/current/errcodes-appendix.html
 */
export function isDatabaseUnavailable(error: unknown): boolean {
  const failure = databaseErrorOf(error);
  if (failure === undefined) return false;
  const { code, routine } = failure;
  // PgBouncer reports lost servers and full queues as 08P01; from PostgreSQL itself it is a malformed message of ours.
  if (code === '08P01') return routine === undefined;
  return NETWORK_ERRORS.has(code) || UNAVAILABLE_CODES.has(code) || isStaleStatement(error);
}

const NETWORK_ERRORS = new Set([
  'ECONNREFUSED',
  'ECONNRESET',
  'EPIPE',
  'ETIMEDOUT',
  'ENOTFOUND',
  'EAI_AGAIN',
  'ECONNABORTED',
  'EHOSTUNREACH',
  'EHOSTDOWN',
  'ENETUNREACH',
  'ENETDOWN',
  'ENETRESET',
  'EADDRNOTAVAIL',
  'ERR_STREAM_DESTROYED',
  'ERR_STREAM_WRITE_AFTER_END',
  'ENOENT',
]);

const CONCURRENCY_CODES = new Set(['40P01', '40001']);

// Each by itself: the classes hold permanent failures too, such as 53400 (a configured limit) and 57P04 (database dropped).
const UNAVAILABLE_CODES = new Set([
  '08000',
  '08001',
  '08003',
  '08004',
  '08006',
  '08007',
  '53000',
  '53100',
  '53200',
  '53300',
  '57P01',
  '57P02',
  '57P03',
  '57P05',
  // read-only standby, statement time-out, lock time-out
  '25006',
  '57014',
  '55P03',
]);

// `pg` has no codes for these.
const CONNECTION_MESSAGES =
  /Connection terminated|timeout exceeded when trying to connect|not queryable|Client was closed|Cannot use a pool after calling end|Query read timeout|connection is closed|^timeout expired$/i;
