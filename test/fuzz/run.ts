import { parseArgs } from 'node:util';
import setUp from '../support/global-setup.js';
import tearDown from '../support/global-teardown.js';

const { values } = parseArgs({ options: { seed: { type: 'string', default: '1' }, minutes: { type: 'string', default: '2' } } });

// As in Jest: the descriptions of operations and the seeds are loaded after it, and name `expect` without using it here.
await setUp();
Object.assign(globalThis, { expect: { any: (type: unknown) => type } });
try {
  const { runFuzz } = await import('./run-fuzz.js');
  process.exitCode = await runFuzz(values.seed, Number(values.minutes));
} finally {
  await tearDown();
}
