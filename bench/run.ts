import { startDatabase, type BenchDatabase } from './support/database.js';
import { conclusion } from './support/report.js';
import { attacks } from './attacks.bench.js';
import { growth } from './growth.bench.js';
import { overload } from './overload.bench.js';
import { pipeline } from './pipeline.bench.js';
import { read } from './read.bench.js';
import { replicas } from './replicas.bench.js';
import { session } from './session.bench.js';
import { lists } from './lists.bench.js';
import { start } from './start.bench.js';
import { statements } from './statements.bench.js';
import { entitlements, tenant } from './tenant.bench.js';
import { batches, caps, singles, totals } from './usage.bench.js';
import { billing, webhooks } from './webhooks.bench.js';

const BENCHES: Record<string, (db: BenchDatabase) => Promise<void>> = {
  read,
  tenant,
  entitlements,
  lists,
  session,
  pipeline,
  statements,
  replicas,
  start,
  overload,
  attacks,
  webhooks,
  billing,
  growth,
  'usage-singles': singles,
  'usage-batches': batches,
  'usage-caps': caps,
  'usage-totals': totals,
};

const given = process.argv.slice(2);
/** `usage` selects every name that starts with `usage-`. */
const namesOf = (name: string) => Object.keys(BENCHES).filter((one) => one === name || one.startsWith(`${name}-`));
const names = given.length > 0 ? given.flatMap(namesOf) : Object.keys(BENCHES);
const unknown = given.filter((name) => namesOf(name).length === 0);
if (unknown.length > 0) {
  process.stderr.write(`There is no ${unknown.join(', ')}; there are ${Object.keys(BENCHES).join(', ')}.\n`);
  process.exit(1);
}
const db = await startDatabase();
try {
  for (const name of names) await BENCHES[name]!(db);
  conclusion();
} finally {
  await db.stop();
}
