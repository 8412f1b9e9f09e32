import { startDatabase, type BenchDatabase } from './support/database.js';
import { conclusion } from './support/report.js';
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
  webhooks,
  billing,
  growth,
};

const names = process.argv.slice(2);
const unknown = names.filter((name) => !(name in BENCHES));
if (unknown.length > 0) {
  process.stderr.write(`There is no ${unknown.join(', ')}; there are ${Object.keys(BENCHES).join(', ')}.\n`);
  process.exit(1);
}
const db = await startDatabase();
try {
  for (const name of names.length > 0 ? names : Object.keys(BENCHES)) await BENCHES[name]!(db);
  conclusion();
} finally {
  await db.stop();
}
