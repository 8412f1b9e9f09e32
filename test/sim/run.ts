import { parseArgs } from 'node:util';
import setUp from '../support/global-setup.js';
import tearDown from '../support/global-teardown.js';
import { simulate } from './simulation.js';
import { Violation } from './access-checker.js';

const { values } = parseArgs({
  options: {
    seeds: { type: 'string', default: '10' },
    from: { type: 'string', default: '1' },
    months: { type: 'string', default: '3' },
  },
});
const [seeds, from, months] = [Number(values.seeds), Number(values.from), Number(values.months)];

await setUp();
const failed: number[] = [];
try {
  for (let seed = from; seed < from + seeds; seed += 1) {
    const startedAt = performance.now();
    try {
      const summary = await simulate({ seed, months });
      const counts = Object.entries(summary).map(([what, count]) => `${count} ${what}`);
      console.log(`seed ${seed}: ${counts.join(', ')}; holds (${Math.round((performance.now() - startedAt) / 1000)} s)`);
    } catch (error) {
      if (!(error instanceof Violation)) throw error;
      failed.push(seed);
      console.log(`seed ${seed}: FAILS\n${error.message}`);
    }
  }
} finally {
  await tearDown();
}
console.log(failed.length === 0 ? `${seeds} simulations hold` : `${failed.length} of ${seeds} fail: seeds ${failed.join(', ')}`);
process.exitCode = failed.length === 0 ? 0 : 1;
