import { jest } from '@jest/globals';
import { MutantBuilds } from '../support/mutants.js';
import { nameOf } from '../support/mutations.js';
import { RACE_MUTATIONS } from '../support/proof-mutations.js';
import { ADMINS } from './pairs/admins.js';
import { EMAILS } from './pairs/emails.js';
import { IDEMPOTENCY } from './pairs/idempotency.js';
import { SEATS_AND_INVITATIONS } from './pairs/seats.js';
import { SESSIONS } from './pairs/sessions.js';
import { USAGE } from './pairs/usage.js';
import { WEBHOOKS } from './pairs/webhooks.js';
import { Stage } from './stage.js';

// A generous limit: a busy machine is not a failure.
jest.setTimeout(600_000);

const PAIRS = [...ADMINS, ...SEATS_AND_INVITATIONS, ...USAGE, ...IDEMPOTENCY, ...EMAILS, ...SESSIONS, ...WEBHOOKS];

describe('in every order of their statements', () => {
  const table: string[] = [];
  let stage: Stage;
  beforeAll(async () => {
    stage = await Stage.open();
  });
  afterAll(async () => {
    await stage.close();
    process.stdout.write(`${table.join('\n')}\n`);
  });

  it.each(PAIRS.map((pair) => [pair.name, pair] as const))('%s', async (name, pair) => {
    const { statements, orders } = await stage.explore(pair);
    const bound = pair.switches === undefined ? '' : `, with at most ${pair.switches} switches`;
    table.push(`${name.padEnd(62)} ${statements.join(' + ').padStart(7)} statements ${String(orders).padStart(4)} orders${bound}`);
    // An order of one after the other, and its opposite.
    expect(orders).toBeGreaterThanOrEqual(2);
  });

  it('leaves rows that keep every promise', async () => {
    expect(await stage.verify()).toEqual([]);
  });
});

describe('the explorer', () => {
  let builds: MutantBuilds;
  beforeAll(() => {
    builds = new MutantBuilds();
  });
  afterAll(() => builds.remove());

  it.each(RACE_MUTATIONS.map((mutation) => [nameOf(mutation), mutation] as const))(
    'finds that this lock is missing: %s',
    async (_, mutation) => {
      const stage = await Stage.open(builds.make(mutation));
      try {
        await expect(stage.explore(PAIRS.find(({ name }) => name === mutation.pair)!)).rejects.toThrow(mutation.finding);
      } finally {
        await stage.close();
      }
    },
  );
});
