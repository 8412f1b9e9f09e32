/** Reads a failure of `pg`, also through the wrapper that Drizzle puts around it. */
function databaseErrorOf(error: unknown): { code?: string; constraint?: string } | undefined {
  let current = error as Failure | undefined | null;
  for (let depth = 0; typeof current === 'object' && current !== null && depth < 5; depth += 1) {
    const { code, constraint, severity, message } = current;
    if (typeof code === 'string' && (severity !== undefined || NETWORK_ERRORS.has(code))) return { code, constraint };
    if (typeof message === 'string' && CONNECTION_MESSAGES.test(message)) return { code: 'ECONNRESET' };
    current = current.cause;
  }
  return undefined;
}

/** By its shape, not its class: errors of Node's own modules are of another realm where a test runner makes one. */
interface Failure {
  code?: unknown;
  constraint?: string;
  severity?: string;
  message?: unknown;
  cause?: Failure;
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

/** Whether the database gave up one of several transactions that waited for each other; nothing of it is left. */
export function isDeadlock(error: unknown): boolean {
  return databaseErrorOf(error)?.code === '40P01';
}

/** What a transaction had read is no longer so. Begun again it sees what another one has written. */
export class Overtaken extends Error {}

/** Whether a transaction only got in another one's way: begun again it sees what that one has written. */
export function isPassing(error: unknown): boolean {
  if (error instanceof Overtaken) return true;
  const code = databaseErrorOf(error)?.code;
  return code === '40P01' || code === '40001' || code === '23505' || code === '23503';
}

/**
 * Whether the database is away (as opposed to having refused a statement): no connection, shutting
 * down, starting up, too many clients, failed over to a read-only standby, or a time-out of ours.
 * Codes: https://www.postgresql.org/docs/current/errcodes-appendix.html
 */
export function isDatabaseAway(error: unknown): boolean {
  const code = databaseErrorOf(error)?.code;
  if (code === undefined) return false;
  return NETWORK_ERRORS.has(code) || code.startsWith('08') || code.startsWith('57P') || AWAY_CODES.has(code);
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

// insufficient resources, too many connections, read-only, statement time-out, lock time-out; and a prepared
// statement that the connection lost or a migration made stale: another connection knows better
const AWAY_CODES = new Set(['53000', '53100', '53200', '53300', '25006', '57014', '55P03', '26000', '0A000']);

// `pg` has no codes for these.
const CONNECTION_MESSAGES =
  /Connection terminated|timeout exceeded when trying to connect|not queryable|Client was closed|Cannot use a pool after calling end|Query read timeout|connection is closed|^timeout expired$/i;
