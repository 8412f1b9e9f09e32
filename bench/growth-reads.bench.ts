import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';
import { migrate } from '../src/platform/database/migrations.js';
import { bearer, median } from './support/contest.js';
import { startServer } from './support/database.js';
import { fillLargeTables, sizesOf } from './support/large-tables.js';
import { options } from './support/options.js';
import { withPrograms } from './support/program.js';
import { type Read, readsOf } from './support/reads.js';
import { heading, note, verdict } from './support/report.js';

/** USERS in the environment changes it; all other tables grow with it. */
const USERS = Number(process.env['USERS'] ?? (options.ci ? 10_000 : 200_000));
/** Of each list. */
const PAGES = options.ci ? 2 : 20;
const PAGE_SIZE = 25;
/** On the small tables of CI, reading one of them whole is more. */
const MAX_BLOCKS = options.ci ? 1000 : 2000;
const MAX_MS = 50;
/** Searches of members and lists by returned payments are known to be slow. `--ci` fails when there is more. */
const KNOWN_IN_CI = 12;
/** A summary reads the hours of up to a year, however few groups it has. */
const SUMMARIES = new Set(['summarizeUsage', 'summarizeOwnUsage']);
const MAX_SUMMARY_MS = 100;
/** A page that looks slow is read again, because a job may run at the same time. */
const ATTEMPTS = 3;

interface Page {
  status: number;
  ms: number;
  blocks: number;
  nextCursor?: string | null;
  /** Of the statement that read the most blocks. */
  plan?: string;
}

/** Every GET operation with every filter and sort of the document, over a large database. */
export async function growthReads(): Promise<void> {
  heading('growth-reads', `every GET with every filter and sort, ${USERS.toLocaleString('en')} users (USERS)`);
  const settings = [
    'shared_preload_libraries=pg_stat_statements',
    'shared_buffers=1GB',
    'fsync=off',
    'full_page_writes=off',
    'max_wal_size=4GB',
  ];
  const server = await startServer(settings);
  try {
    await migrate(server.url);
    const client = new pg.Client({ connectionString: server.url });
    await client.connect();
    try {
      await client.query('CREATE EXTENSION pg_stat_statements');
      const start = performance.now();
      await fillLargeTables(client, sizesOf(USERS));
      note(`${await sizeOf(client)} loaded in ${((performance.now() - start) / 1000).toFixed(0)} s`);
      await withPrograms(server, async ({ tenantry }) => {
        const { url } = await tenantry();
        await holdJobs(client, url);
        await walk(url, client);
      });
    } finally {
      await client.end();
    }
  } finally {
    await server.stop();
  }
}

async function walk(url: string, client: pg.Client): Promise<void> {
  const reads = readsOf({ limit: PAGE_SIZE, inPairs: !options.ci });
  let pages = 0;
  let refused = 0;
  let most = 0;
  const slow: string[] = [];
  const times: number[] = [];
  for (const read of reads) {
    let cursor: string | null | undefined;
    for (let page = 1; page === 1 || (page <= PAGES && typeof cursor === 'string'); page += 1) {
      const seen = await readAgainIfSlow(client, url, read, cursor);
      const target = pathOf(read, cursor);
      if (seen.status >= 500 || seen.status === 401) throw new Error(`${target}: ${seen.status}`);
      cursor = seen.nextCursor;
      if (seen.status !== 200) {
        refused += 1;
        continue;
      }
      pages += 1;
      times.push(seen.ms);
      if (!SUMMARIES.has(read.operation)) most = Math.max(most, seen.blocks);
      if (!isSlow(read, seen)) continue;
      slow.push(`${read.operation}, page ${page}: ${seen.ms.toFixed(0)} ms, ${seen.blocks.toLocaleString('en')} blocks: ${target}`);
      note(slow.at(-1)!);
      if (process.env['PLANS'] !== undefined) note(seen.plan ?? '');
      break;
    }
  }
  note(
    `${reads.length} combinations, ${pages.toLocaleString('en')} pages, ${refused} refused; ${median(times).toFixed(1)} ms at the median`,
  );
  const what = options.ci
    ? `combinations over ${MAX_BLOCKS} blocks a page`
    : `combinations over ${MAX_BLOCKS} blocks or ${MAX_MS} ms a page, or ${MAX_SUMMARY_MS} ms a summary`;
  verdict({ what, measured: slow.length, goal: { atMost: 0 }, ci: { atMost: KNOWN_IN_CI } });
  verdict({ what: 'most blocks of a page', measured: most, goal: { atMost: MAX_BLOCKS } });
}

/** CI counts blocks only: its machine may be busy. */
function isSlow({ operation }: Read, { status, ms, blocks }: Page): boolean {
  if (status !== 200) return false;
  const isSummary = SUMMARIES.has(operation);
  return (!isSummary && blocks > MAX_BLOCKS) || (!options.ci && ms > (isSummary ? MAX_SUMMARY_MS : MAX_MS));
}

/** Waits for the jobs that run, and lets none start: their statements would be counted too. */
async function holdJobs(client: pg.Client, url: string): Promise<void> {
  const { data } = (await (await fetch(`${url}/v1/jobs`, { headers: bearer(0) })).json()) as { data: { name: string }[] };
  const names = data.map(({ name }) => name);
  for (let held = 0; held < names.length; await sleep(100)) held += (await client.query(HOLD_IDLE_JOBS, [names])).rowCount!;
}

const HOLD_IDLE_JOBS = `
  INSERT INTO job_runs (id, job, tick, holder, leased_until) SELECT gen_random_uuid(), job, 'epoch', gen_random_uuid(), now() + interval '1 day'
    FROM unnest($1::text[]) job WHERE NOT EXISTS (SELECT FROM job_runs r WHERE r.job = job.job AND r.finished_at IS NULL)`;

async function readAgainIfSlow(client: pg.Client, url: string, read: Read, cursor: string | null | undefined): Promise<Page> {
  const tries = [await readPage(client, url, read, cursor)];
  while (isSlow(read, tries[0]!) && tries.length < ATTEMPTS) tries.push(await readPage(client, url, read, cursor));
  const fewest = tries.reduce((one, other) => (other.blocks < one.blocks ? other : one));
  return { ...fewest, ms: median(tries.map(({ ms }) => ms)) };
}

async function readPage(client: pg.Client, url: string, read: Read, cursor: string | null | undefined): Promise<Page> {
  await client.query('SELECT pg_stat_statements_reset()');
  const start = performance.now();
  const answer = await fetch(url + pathOf(read, cursor), { headers: bearer(0) });
  const body = await answer.text();
  const ms = performance.now() - start;
  const { rows } = await client.query<{ query: string; blocks: number }>(STATEMENTS);
  const blocks = rows.reduce((sum, one) => sum + one.blocks, 0);
  const nextCursor = read.isList && answer.ok ? (JSON.parse(body) as { nextCursor: string | null }).nextCursor : undefined;
  const plan = blocks > MAX_BLOCKS ? await planOf(client, rows[0]!.query) : rows[0]?.query;
  return { status: answer.status, ms, blocks, nextCursor, plan };
}

const STATEMENTS = `
  SELECT query, (shared_blks_hit + shared_blks_read + temp_blks_read)::int AS blocks FROM pg_stat_statements
   WHERE query NOT LIKE '%pg_stat_statements%' ORDER BY blocks DESC`;

/** Without the values: the plan that a prepared statement gets. */
async function planOf(client: pg.Client, statement: string): Promise<string> {
  const { rows } = await client.query<{ 'QUERY PLAN': string }>(`EXPLAIN (GENERIC_PLAN) ${statement}`).catch(() => ({ rows: [] }));
  return [statement, ...rows.map((row) => row['QUERY PLAN'])].join('\n    ');
}

function pathOf({ path, query }: Read, cursor: string | null | undefined): string {
  const search = new URLSearchParams({ ...query, ...(typeof cursor === 'string' && { cursor }) }).toString();
  return search === '' ? path : `${path}?${search}`;
}

async function sizeOf(client: pg.Client): Promise<string> {
  const { rows } = await client.query<{ size: string }>('SELECT pg_size_pretty(pg_database_size(current_database())) AS size');
  return rows[0]!.size;
}
