import { isDatabaseUnavailable, isDeadlock, isStaleStatement } from './database-errors.js';

/** As `pg` reports it: PostgreSQL names the routine that raised the error. */
const fromPostgres = (code: string, routine = 'exec_simple_query') =>
  Object.assign(new Error('refused'), { code, severity: 'ERROR', routine });
const fromPooler = (code: string) => Object.assign(new Error('query_wait_timeout'), { code, severity: 'ERROR' });
const fromNode = (code: string, syscall: string) => Object.assign(new Error(code), { code, syscall });

describe('the classification of database errors', () => {
  it('treats a stale plan as retryable, also when Drizzle wraps the error', () => {
    const stale = fromPostgres('0A000', 'RevalidateCachedQuery');
    expect([isStaleStatement(stale), isDatabaseUnavailable(stale)]).toEqual([true, true]);
    expect(isDatabaseUnavailable(new Error('Failed query', { cause: stale }))).toBe(true);
    expect(isDatabaseUnavailable(fromPostgres('26000', 'FetchPreparedStatement'))).toBe(true);
  });

  it('treats a statement that PostgreSQL never runs as a bug, not as retryable', () => {
    expect(isStaleStatement(fromPostgres('0A000', 'transformLockingClause'))).toBe(false);
    expect(isDatabaseUnavailable(fromPostgres('0A000', 'transformLockingClause'))).toBe(false);
  });

  it.each(['08P01', '42P05', '53400', '57P04', '54000', '58P01', 'XX000', 'XX001', '22008', '23505', '40002', '3D000', '28P01'])(
    'does not treat %s as an unavailable database',
    (code) => expect(isDatabaseUnavailable(fromPostgres(code))).toBe(false),
  );

  it.each(['08006', '08001', '53100', '53200', '53300', '57P01', '57P02', '57P03', '57014', '55P03', '25006'])(
    'treats %s as an unavailable database',
    (code) => expect(isDatabaseUnavailable(fromPostgres(code))).toBe(true),
  );

  it('recognizes the code of all PgBouncer errors', () => {
    expect(isDatabaseUnavailable(fromPooler('08P01'))).toBe(true);
  });

  it('treats a missing socket as an unavailable database, but not a missing file', () => {
    expect(isDatabaseUnavailable(fromNode('ENOENT', 'connect'))).toBe(true);
    expect(isDatabaseUnavailable(fromNode('ENOENT', 'open'))).toBe(false);
  });

  it('treats deadlocks and serialization failures as lost races', () => {
    expect(['40P01', '40001', '40002', '23505'].map((code) => isDeadlock(fromPostgres(code)))).toEqual([true, true, false, false]);
  });
});
