import { startDatabase, type BenchDatabase } from './support/database.js';
import { options } from './support/options.js';
import { conclude, printMarkdown } from './support/report.js';
import { attacks } from './attacks.bench.js';
import { growth } from './growth.bench.js';
import { growthReads } from './growth-reads.bench.js';
import { metrics } from './metrics.bench.js';
import { mixed } from './mixed.bench.js';
import { overload } from './overload.bench.js';
import { pipeline } from './pipeline.bench.js';
import { read } from './read.bench.js';
import { replicas } from './replicas.bench.js';
import { session } from './session.bench.js';
import { limiter } from './limiter.bench.js';
import { lists } from './lists.bench.js';
import { start } from './start.bench.js';
import { statements } from './statements.bench.js';
import { summaries } from './summaries.bench.js';
import { entitlements, tenant } from './tenant.bench.js';
import { batches, caps, singles, totals } from './usage.bench.js';
import { billing, webhooks } from './webhooks.bench.js';

const BENCHES: Record<string, (db: BenchDatabase) => Promise<void>> = {
  read,
  tenant,
  entitlements,
  lists,
  session,
  metrics,
  pipeline,
  statements,
  replicas,
  start,
  overload,
  mixed,
  limiter,
  attacks,
  webhooks,
  billing,
  growth,
  'growth-reads': growthReads,
  'usage-singles': singles,
  'usage-batches': batches,
  'usage-caps': caps,
  'usage-totals': totals,
  'usage-summaries': summaries,
};

/** Benches of the small set that runs in CI. */
const CI = ['read', 'usage-batches', 'webhooks'];
/** Benches that run the served program of the other build beside ours. */
const COMPARED = [
  'read',
  'tenant',
  'entitlements',
  'lists',
  'pipeline',
  'replicas',
  'webhooks',
  'billing',
  'usage-singles',
  'usage-batches',
  'usage-caps',
  'usage-totals',
  'usage-summaries',
];

async function run(): Promise<void> {
  const offered = options.compare === undefined ? Object.keys(BENCHES) : COMPARED;
  // `usage` selects every name that starts with `usage-`.
  const namesOf = (name: string) => offered.filter((one) => one === name || one.startsWith(`${name}-`));
  const unknown = options.names.filter((name) => namesOf(name).length === 0);
  if (unknown.length > 0) {
    process.stderr.write(`There is no ${unknown.join(', ')}; there are ${offered.join(', ')}.\n`);
    process.exitCode = 1;
    return;
  }
  const names = options.names.length > 0 ? options.names.flatMap(namesOf) : options.ci ? CI : offered;
  const db = await startDatabase();
  try {
    for (const name of names) await BENCHES[name]!(db);
    const isMet = conclude();
    // A whole run is there to be read; only CI fails.
    if (options.ci && !isMet) process.exitCode = 1;
  } finally {
    await db.stop();
  }
}

if (options.markdown) printMarkdown(Object.keys(BENCHES));
else await run();
