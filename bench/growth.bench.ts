import { randomUUID } from 'node:crypto';
import pg from 'pg';
import { Clock } from '../src/platform/time/clock.service.js';
import { newId } from '../src/platform/crypto/ids.js';
import { createDatabase } from '../src/platform/database/database.js';
import { migrate } from '../src/platform/database/migrations.js';
import { RollupReconciliationRepository } from '../src/usage/reconciliation/rollup-reconciliation.repository.js';
import { ComparedUsageRepository } from '../src/usage/reconciliation/compared-usage.repository.js';
import { PartitionedUsageRepository } from '../src/usage/partitions/partitioned-usage.repository.js';
import { monthOf, partitionOf, startOf } from '../src/usage/partitions/months.js';
import { Reconciler } from '../src/sync/reconciler.service.js';
import { ScreenedUsageRepository } from '../src/usage/reconciliation/screened-usage.repository.js';
import { UsageReconciliation } from '../src/usage/reconciliation/usage-reconciliation.service.js';
import { UsageRollupsRepository } from '../src/usage/rollups/usage-rollups.repository.js';
import { compete, type Contender, type Result } from './support/contest.js';
import type { BenchDatabase } from './support/database.js';
import { heading, note, table, verdict } from './support/report.js';

const FEW = 100_000;
const MANY = Number(process.env['ROWS'] ?? 2_000_000);
const MONTHS = 12;
/** One owner has a fifth of all rows; every other owner has this many, whatever the total. */
const ROWS_OF_AN_OWNER_A_MONTH = 650;
const BATCH = 1000;

/** A year of usage with a given number of rows. */
class Year {
  readonly url: string;
  readonly client: pg.Client;
  readonly rows: number;
  readonly owners: number;
  readonly current = monthOf(new Date());
  readonly oldest = this.current - MONTHS + 1;

  constructor(url: string, client: pg.Client, rows: number) {
    this.url = url;
    this.client = client;
    this.rows = rows;
    this.owners = Math.ceil((rows * 0.8) / MONTHS / ROWS_OF_AN_OWNER_A_MONTH);
  }

  get name(): string {
    return `${this.rows.toLocaleString('en')} rows`;
  }

  /** Indexes are created after the rows, which takes a third of the time. */
  async load(): Promise<void> {
    await this.client.query(`SET maintenance_work_mem = '512MB'; ALTER TABLE usage_event_ids DROP CONSTRAINT usage_event_ids_pkey`);
    for (let month = this.oldest; month <= this.current; month += 1) {
      const partition = partitionOf(month);
      const [from, to] = [startOf(month), startOf(month + 1)].map((moment) => `'${moment.toISOString()}'`);
      await this.client.query(`CREATE TABLE ${partition} (LIKE usage INCLUDING DEFAULTS)`);
      await this.client.query(insertMonth(partition, from!), [Math.round(this.rows / MONTHS), this.owners]);
      await this.client.query(`ALTER TABLE ${partition} ADD PRIMARY KEY (owner_id, occurred_at, event_id)`);
      await this.client.query(`ALTER TABLE usage ATTACH PARTITION ${partition} FOR VALUES FROM (${from}) TO (${to})`);
      await this.client.query(
        `INSERT INTO usage_event_ids (owner_id, event_id, fingerprint) SELECT owner_id, event_id, decode(md5(event_id), 'hex') FROM ${partition}`,
      );
      await this.client.query(
        `INSERT INTO usage_rollups (owner_id, hour, model, actor_user_id, events, input_tokens, output_tokens, tokens_used)
         SELECT owner_id, date_trunc('hour', occurred_at, 'UTC'), model, actor_user_id, count(*), sum(input_tokens), sum(output_tokens), sum(tokens_used)
           FROM ${partition} GROUP BY 1, 2, 3, 4`,
      );
      await this.client.query(
        `INSERT INTO usage_quotas (owner_id, period_start, period_end, owner_kind, used)
         SELECT owner_id, period_start, ${to}, owner_kind, sum(tokens_used) FROM ${partition} GROUP BY owner_id, period_start, owner_kind`,
      );
    }
    await this.client.query('ALTER TABLE usage_event_ids ADD CONSTRAINT usage_event_ids_pkey PRIMARY KEY (owner_id, event_id)');
    await this.client.query('VACUUM (ANALYZE) usage, usage_event_ids, usage_rollups');
  }

  /** Inserts batches of new events of many owners. */
  inserting(newEventId: () => string): Contender {
    return this.repeating(BATCH, async () => {
      const events = Array.from({ length: BATCH }, () => ({ ownerId: ownerId(1 + randomBelow(this.owners)), eventId: newEventId() }));
      const columns = [events.map((one) => one.ownerId), events.map((one) => one.eventId)];
      await this.client.query('BEGIN');
      await this.client.query({ name: 'ids', text: INSERT_IDS, values: columns });
      await this.client.query({ name: 'insert', text: INSERT_EVENTS, values: [...columns, startOf(this.current).toISOString()] });
      await this.client.query('COMMIT');
    });
  }

  /** Looks up batches of known events. */
  async lookUpKnown(): Promise<Contender> {
    const share = Math.min(100, (100 * 100 * BATCH) / this.rows);
    const { rows } = await this.client.query<{ owner_id: string; event_id: string }>(
      `SELECT owner_id, event_id FROM usage_event_ids TABLESAMPLE BERNOULLI (${share}) ORDER BY random()`,
    );
    return this.repeating(BATCH, async () => {
      const events = Array.from({ length: BATCH }, () => rows[randomBelow(rows.length)]!);
      const values = [events.map((one) => one.owner_id), events.map((one) => one.event_id)];
      const { rowCount } = await this.client.query({ name: 'known', text: FIND_IDS, values });
      if (rowCount === 0) throw new Error('None of the known ids was found');
    });
  }

  /** Sums a month of an average owner from the rollups. */
  get summing(): Contender {
    return this.repeating(1, async () => {
      const month = this.oldest + 1 + randomBelow(MONTHS - 2);
      await this.total('rollups', ownerId(1 + randomBelow(this.owners)), month);
    });
  }

  /** The tokens of an owner in a month, and the time of the query. */
  async total(source: keyof typeof TOTALS, owner: string, month: number): Promise<{ tokens: number; ms: number }> {
    const start = performance.now();
    const values = [owner, startOf(month).toISOString(), startOf(month + 1).toISOString()];
    const { rows } = await this.client.query<{ tokens: string }>({ name: source, text: TOTALS[source], values });
    return { tokens: Number(rows[0]!.tokens), ms: performance.now() - start };
  }

  /** Blocks of tables and indexes that were accessed in this database so far. */
  async blocks(): Promise<number> {
    await this.client.query('SELECT pg_stat_force_next_flush()');
    const { rows } = await this.client.query<{ blocks: string }>(
      'SELECT blks_hit + blks_read AS blocks FROM pg_stat_database WHERE datname = current_database()',
    );
    return Number(rows[0]!.blocks);
  }

  private repeating(count: number, operation: () => Promise<void>): Contender {
    return {
      name: this.name,
      run: async (milliseconds) => {
        const [start, before] = [performance.now(), process.cpuUsage()];
        let done = 0;
        for (; performance.now() - start < milliseconds; done += count) await operation();
        const { user, system } = process.cpuUsage(before);
        return { perSecond: done / ((performance.now() - start) / 1000), cpu: (user + system) / done };
      },
    };
  }
}

/** The operations that may slow down as usage grows. */
export async function growth(db: BenchDatabase): Promise<void> {
  heading('growth', `usage of a year: ${MANY.toLocaleString('en')} rows (ROWS) against ${FEW.toLocaleString('en')} on the same server`);
  await db.query('CREATE DATABASE few');
  const few = await connect(new URL('/few', db.url).href, FEW);
  const many = await connect(db.url, MANY);
  try {
    await few.load();
    const start = performance.now();
    await many.load();
    note(`loaded in ${seconds(start)} s`);
    await noteSizes(many);
    await verifyLedger(many);

    note('a month of an ordinary owner, summed from rollups:');
    const summed = await compete(db, [few.summing, many.summing]);
    table(summed);
    const [sumFew, sumMany] = summed as [Result, Result];
    verdict({
      what: 'rate of month totals ÷ that of few rows',
      measured: sumMany.rateRatio,
      goal: { atLeast: 0.85 },
      costs: [sumMany, sumFew],
    });
    await compareWithEvents(many);

    note(`known ids found, ${BATCH} at a time:`);
    table(await compete(db, [await few.lookUpKnown(), await many.lookUpKnown()]));

    note(`events written with their ids, ${BATCH} at a time; ids in order of time, as UUIDv7:`);
    const inserted = await compete(db, [few.inserting(newId), many.inserting(newId)]);
    table(inserted);
    verdict({ what: 'rate of writing ÷ that of few rows', measured: inserted[1]!.rateRatio, goal: { atLeast: 0.5 } });

    note('the same with random ids, each of which has its place on another page of the index:');
    table(await compete(db, [few.inserting(randomUUID), many.inserting(randomUUID)]));

    for (const year of [few, many]) await dropMonth(year);
  } finally {
    await Promise.all([few, many].map(({ client }) => client.end()));
  }
}

async function connect(url: string, rows: number): Promise<Year> {
  await migrate(url);
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  return new Year(url, client, rows);
}

async function noteSizes({ client, owners }: Year): Promise<void> {
  const { rows } = await client.query<{ name: string; size: string; rows: string }>(
    `SELECT name, pg_size_pretty(sum(pg_total_relation_size(oid))) AS size, sum(reltuples)::bigint AS rows
       FROM (SELECT oid, reltuples, regexp_replace(relname, '^usage_\\d.*', 'usage') AS name FROM pg_class WHERE relname LIKE 'usage%' AND relkind = 'r') t
      WHERE name IN ('usage', 'usage_event_ids', 'usage_rollups') GROUP BY name ORDER BY name`,
  );
  note(`${owners.toLocaleString('en')} owners and one that has a fifth of all`);
  for (const { name, size, rows: count } of rows) note(`${name}: ${Number(count).toLocaleString('en')} rows, ${size} with its indexes`);
}

/** For the biggest owner. */
async function compareWithEvents(year: Year): Promise<void> {
  for (const source of ['events', 'rollups'] as const) await year.total(source, ownerId(0), year.oldest + 2);
  const events = await year.total('events', ownerId(0), year.oldest + 2);
  const rollups = await year.total('rollups', ownerId(0), year.oldest + 2);
  note(`a month of the biggest owner: ${rollups.ms.toFixed(1)} ms from rollups, ${events.ms.toFixed(0)} ms from its events`);
  verdict({ what: 'tokens by which the two differ', measured: Math.abs(events.tokens - rollups.tokens), goal: { atMost: 0 } });
}

/** Like `usage verify`, for the biggest owner. */
async function verifyLedger({ url, rows }: Year): Promise<void> {
  const db = createDatabase({ databaseUrl: url, databasePoolSize: 2 });
  const reconciliation = new UsageReconciliation(
    new ScreenedUsageRepository(db),
    new ComparedUsageRepository(db),
    new RollupReconciliationRepository(),
    new UsageRollupsRepository(),
    new PartitionedUsageRepository(db),
    new Reconciler(db),
    new Clock(),
    db,
  );
  try {
    const start = performance.now();
    const { found } = await reconciliation.reconcile({ only: ownerId(0) });
    note(`the books of the biggest owner, ${Math.round(rows / 5).toLocaleString('en')} events, verified in ${seconds(start)} s`);
    verdict({ what: 'differences', measured: found, goal: { atMost: 0 } });
  } finally {
    await db.$client.end();
  }
}

async function dropMonth(year: Year): Promise<void> {
  const { rows } = await year.client.query<{ pages: number }>(
    `SELECT sum(relpages)::int AS pages FROM pg_class WHERE relname LIKE '${partitionOf(year.oldest)}%'`,
  );
  const db = createDatabase({ databaseUrl: year.url, databasePoolSize: 2 });
  const repository = new PartitionedUsageRepository(db);
  try {
    // Load the catalog into the connection's cache first.
    await repository.listMonths();
    const [before, start] = [await year.blocks(), performance.now()];
    await db.transaction(async (tx) => {
      await repository.lock(1000, tx);
      await repository.advanceWatermark(startOf(year.oldest + 1), tx);
      await repository.drop(year.oldest, tx);
    });
    const ms = performance.now() - start;
    note(
      `a month of ${Math.round(year.rows / MONTHS).toLocaleString('en')} rows dropped in ${ms.toFixed(0)} ms; ` +
        `${(await year.blocks()) - before} blocks touched, of ${rows[0]!.pages} that it has`,
    );
  } finally {
    await db.$client.end();
  }
}

/** Inserts `$1` rows of `$2` owners and the big one. Every owner is active in 40 hours of a month, the big one always. */
function insertMonth(partition: string, from: string): string {
  return `
    INSERT INTO ${partition} (owner_id, occurred_at, event_id, owner_kind, actor_user_id, model, input_tokens, output_tokens, tokens_used, period_start)
    SELECT ('00000000-0000-7000-c000-' || lpad(owner::text, 12, '0'))::uuid,
           ${from}::timestamptz + hour * interval '1 hour' + floor(random() * 3600000) * interval '1 millisecond',
           gen_random_uuid()::text, 'organization',
           ('00000000-0000-7000-d000-' || lpad((n % CASE owner WHEN 0 THEN 5 ELSE 2 END)::text, 12, '0'))::uuid,
           'model-' || (owner + hour) % 4, n % 1000, n % 300, n % 1000 + n % 300, ${from}::timestamptz
      FROM (SELECT n, owner, CASE owner WHEN 0 THEN floor(random() * 672)::int ELSE (owner * 7 + k / $2::int % 40 * 17) % 672 END AS hour
              FROM (SELECT n, k, CASE n % 5 WHEN 0 THEN 0 ELSE 1 + k % $2::int END AS owner
                      FROM (SELECT n, n / 5 * 4 + n % 5 AS k FROM generate_series(1, $1::int) n) a) b) c`;
}

const INSERT_IDS = `INSERT INTO usage_event_ids (owner_id, event_id, fingerprint)
  SELECT owner_id, event_id, decode(md5(event_id), 'hex') FROM unnest($1::uuid[], $2::text[]) AS given (owner_id, event_id)
   ORDER BY owner_id, event_id ON CONFLICT DO NOTHING`;

const INSERT_EVENTS = `INSERT INTO usage (owner_id, occurred_at, event_id, owner_kind, model, input_tokens, output_tokens, tokens_used, period_start)
  SELECT owner_id, clock_timestamp(), event_id, 'organization', 'model-1', 700, 300, 1000, $3::timestamptz
    FROM unnest($1::uuid[], $2::text[]) AS given (owner_id, event_id)`;

const FIND_IDS = `SELECT owner_id, event_id, fingerprint FROM usage_event_ids
  WHERE (owner_id, event_id) IN (SELECT * FROM unnest($1::uuid[], $2::text[]) AS given (owner_id, event_id))`;

const TOTALS = {
  rollups: 'SELECT coalesce(sum(tokens_used), 0) AS tokens FROM usage_rollups WHERE owner_id = $1 AND hour >= $2 AND hour < $3',
  events: 'SELECT coalesce(sum(tokens_used), 0) AS tokens FROM usage WHERE owner_id = $1 AND occurred_at >= $2 AND occurred_at < $3',
};

function ownerId(owner: number): string {
  return `00000000-0000-7000-c000-${String(owner).padStart(12, '0')}`;
}

function seconds(since: number): string {
  return ((performance.now() - since) / 1000).toFixed(0);
}

function randomBelow(end: number): number {
  return Math.floor(Math.random() * end);
}
