import { Inject, Injectable } from '@nestjs/common';
import { DATABASE, type Database } from '../../platform/database/database.js';
import { type LeaseGrant, type LeaseRequest, type LeaseTerms, REMAINING_PART } from './lease-terms.js';

/**
 * GCRA for many buckets. Rows are locked in the order of their keys and before any is inserted, so two processes cannot
 * deadlock. Leased calls follow `greatest(…, $8)`, which keeps them covered until the lease ends (docs/decisions/0065).
 * The arrays are subqueries, because the planner would plan each length of a parameter anew.
 */
const GRANT = `
  WITH granted AS MATERIALIZED (
    SELECT key, now, is_new, admitted, leased, returned,
           CASE WHEN leased > 0 THEN covered + leased * $6 ELSE spent END AS backlog
      FROM (SELECT a.key, now, l.whole IS NULL AS is_new, returned, admitted, spent, covered,
                   least(a.ahead, greatest(0, ($7 - covered) / $6 / ${1 / REMAINING_PART})) AS leased
              FROM (SELECT * FROM unnest((SELECT $1::text[]), (SELECT $2::int[]), (SELECT $3::int[]), (SELECT $4::int[]), (SELECT $5::float8[]))
                      AS asked (key, waiting, ahead, unused, mark) ORDER BY key) a
              LEFT JOIN LATERAL (SELECT (extract(epoch FROM r.whole_at) * 1000000)::bigint AS whole
                                   FROM rate_limits r WHERE r.key = a.key FOR NO KEY UPDATE) l ON true
             CROSS JOIN LATERAL (SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint AS now) c
             CROSS JOIN LATERAL (SELECT CASE WHEN l.whole = a.mark::bigint THEN a.unused ELSE 0 END AS returned) u
             CROSS JOIN LATERAL (SELECT greatest(0, coalesce(l.whole - returned * $6::bigint - now, 0)) AS before) b
             CROSS JOIN LATERAL (SELECT least(a.waiting, greatest(0, ($7::bigint - before) / $6)) AS admitted) s
             CROSS JOIN LATERAL (SELECT before + admitted * $6 AS spent, greatest(before + admitted * $6, $8::bigint) AS covered) e) calls
     -- Not by key alone: only a sort of its own takes all locks before the first insert.
     ORDER BY is_new, key),
  changed AS (
    UPDATE rate_limits r SET whole_at = timestamptz 'epoch' + (g.now + g.backlog) * interval '1 microsecond'
      FROM granted g WHERE r.key = g.key AND NOT g.is_new AND g.admitted + g.leased + g.returned > 0),
  created AS (
    INSERT INTO rate_limits (key, whole_at)
    SELECT key, timestamptz 'epoch' + (now + backlog) * interval '1 microsecond' FROM granted WHERE is_new
    ON CONFLICT (key) DO NOTHING RETURNING key)
  SELECT g.key, g.admitted::int, g.leased::int, g.backlog::float8, (g.now + g.backlog)::float8 AS mark
    FROM granted g WHERE NOT g.is_new OR g.key IN (SELECT key FROM created)`;

@Injectable()
export class LeasesRepository {
  constructor(@Inject(DATABASE) private readonly db: Database) {}

  /** Keys must differ. Returns nothing for a key that another process is inserting: ask again. */
  async grant({ interval, window, period }: LeaseTerms, requests: readonly LeaseRequest[]): Promise<LeaseGrant[]> {
    const columns = (['key', 'waiting', 'ahead', 'unused', 'mark'] as const).map((name) => requests.map((request) => request[name]));
    const statement = { name: 'access_grant', text: GRANT, values: [...columns, interval, window, period] };
    const result: Promise<{ rows: LeaseGrant[] }> = this.db.$client.query(statement);
    return (await result).rows;
  }
}
