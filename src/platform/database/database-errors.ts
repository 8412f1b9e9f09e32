/** Reads a failure of `pg`, also through the wrapper that Drizzle puts around it. */
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

/** By its shape, not its class: errors of Node's own modules are of another realm where a test runner makes one. */
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

/** Whether a unique index or constraint of this name refused the write. */
export function isUniqueViolation(error: unknown, constraint: string): boolean {
  const failure = databaseErrorOf(error);
  return failure?.code === '23505' && failure.constraint === constraint;
}

/** Whether a partitioned table has no place for the row: its partition is not made yet, or was dropped. */
export function isMissingPartition(error: unknown): boolean {
  const failure = databaseErrorOf(error);
  // The code is also that of check constraints, which tell their name.
  return failure?.code === '23514' && failure.constraint === undefined;
}

/** Whether the database gave up one of several transactions in each other's way; nothing of it is left. */
export function isDeadlock(error: unknown): boolean {
  return CONCURRENCY_CODES.has(databaseErrorOf(error)?.code ?? '');
}

/** What a transaction had read is no longer so. Begun again it sees what another one has written. */
export class ConcurrencyConflict extends Error {}

/** Whether a transaction only got in another one's way: begun again it sees what that one has written. */
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
 * Whether the database is unavailable (as opposed to having refused a statement): no connection, shutting down,
 * starting up, too many clients, failed over to a read-only standby, a stale statement, or a time-out of ours.
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
