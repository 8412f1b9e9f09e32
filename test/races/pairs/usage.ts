import { v7 } from 'uuid';
import { newPeople, type Person } from '../people.js';
import type { JobsService } from '../../../src/jobs/jobs.service.js';
import type { UsageLedger } from '../../../src/usage/ledger/usage-ledger.service.js';
import type { Answer } from '../process.js';
import { type Operation, outcomeOf, type Pair, type Stage } from '../stage.js';

interface World {
  person: Person;
  /** Of 60 tokens. */
  holdId: string;
}

const event = (eventId: string, tokens: number) => ({ eventId, model: 'gpt-4o', inputTokens: tokens, outputTokens: 0 });
const hold =
  (tokens: number) =>
  ({ person }: World): Operation => {
    const body = { holdId: v7(), estimatedTokens: tokens };
    return (process) => process.call('POST', '/v1/usage/holds', { as: person, body });
  };
const record =
  (tokens: number, eventId: string = v7()) =>
  ({ person }: World): Operation =>
  (process) =>
    process.call('POST', '/v1/usage', { as: person, body: event(eventId, tokens) });
const settle =
  (eventId: string) =>
  ({ person, holdId }: World): Operation =>
  (process) =>
    process.call('POST', `/v1/usage/holds/${holdId}/settle`, { as: person, body: event(eventId, 60) });
const release =
  ({ person, holdId }: World): Operation =>
  (process) =>
    process.call('DELETE', `/v1/usage/holds/${holdId}`, { as: person });
const expire = (): Operation => async (process) => {
  const jobs = await process.service<JobsService>('jobs/jobs.service.js', 'JobsService');
  await jobs['jobs'].get('expire_holds')!.run(new AbortController().signal);
  return { status: 200, body: {} };
};

/** Processes remember for a while that event ids came again. Each order begins without that. */
async function forgetRepetitions({ processes }: Stage): Promise<void> {
  for (const process of processes)
    Object.assign(await process.service<UsageLedger>('usage/ledger/usage-ledger.service.js', 'UsageLedger'), { lookups: 0 });
}

type Tokens = [used: number, held: number];

async function findFaults({ db }: Stage, { person }: World, [used, held]: Tokens): Promise<string[]> {
  const [found] = await db.rows<Record<'used' | 'held' | 'counted' | 'rolled' | 'live' | 'events' | 'ids', number>>(
    `SELECT coalesce(sum(used), 0)::int AS counted, coalesce(sum(held), 0)::int AS held,
       (SELECT coalesce(sum(tokens_used), 0)::int FROM usage WHERE owner_id = $1) AS used,
       (SELECT coalesce(sum(tokens_used), 0)::int FROM usage_rollups WHERE owner_id = $1) AS rolled,
       (SELECT coalesce(sum(tokens), 0)::int FROM usage_holds WHERE owner_id = $1 AND status = 'live') AS live,
       (SELECT count(*)::int FROM usage WHERE owner_id = $1) AS events,
       (SELECT count(*)::int FROM usage_event_ids WHERE owner_id = $1) AS ids
     FROM usage_quotas WHERE owner_id = $1`,
    [person.id],
  );
  const { counted, rolled, live, events, ids, ...stored } = found!;
  return [
    ...(stored.used === used ? [] : [`${stored.used} tokens were recorded, and ${used} were accepted`]),
    ...(counted === used && rolled === used ? [] : [`${used} used tokens are counted as ${counted} and rolled up as ${rolled}`]),
    ...(live === held ? [] : [`${live} tokens are held, and ${held} were accepted`]),
    ...(stored.held === live ? [] : [`${live} held tokens are counted as ${stored.held}`]),
    ...(ids === events ? [] : [`${events} events have ${ids} ids`]),
  ];
}

type Start = 'nothing' | '40 used' | '60 held' | '60 held, expired';

/** @param outcomes with the tokens that are used and held after them: never more than 100 */
function pair(
  name: string,
  start: Start,
  [first, second]: [(world: World) => Operation, (world: World) => Operation],
  outcomes: Record<string, Tokens>,
): Pair {
  const prepare = async (stage: Stage) => {
    const { db, processes } = stage;
    await forgetRepetitions(stage);
    const [person] = (await newPeople(db, 1)) as [Person];
    const world = { person, holdId: v7() };
    if (start === '40 used') await record(40)(world)(processes[0]);
    if (start.startsWith('60 held'))
      await processes[0].call('POST', '/v1/usage/holds', { as: person, body: { holdId: world.holdId, estimatedTokens: 60 } });
    if (start.endsWith('expired'))
      await db.rows(`UPDATE usage_holds SET expires_at = now() - interval '1 second' WHERE owner_id = $1`, [person.id]);
    const check = (answers: readonly [Answer, Answer]) => findFaults(stage, world, outcomes[outcomeOf(answers)] ?? [0, 0]);
    return { operations: [first(world), second(world)] as const, outcomes: Object.keys(outcomes), check };
  };
  return { name, prepare };
}

/** Of a person with 100 tokens. */
export const USAGE: Pair[] = [
  pair('a hold × a hold, at the cap', '40 used', [hold(60), hold(60)], {
    '201, 402 quota_exceeded': [40, 60],
    '402 quota_exceeded, 201': [40, 60],
  }),
  pair('a hold × an event, at the cap', '40 used', [hold(60), record(60)], {
    '201, 402 quota_exceeded': [40, 60],
    '402 quota_exceeded, 201': [100, 0],
  }),
  pair('an event × an event, at the cap', '40 used', [record(60), record(60)], {
    '201, 402 quota_exceeded': [100, 0],
    '402 quota_exceeded, 201': [100, 0],
  }),
  {
    ...pair('a hold × a hold, the first of a period', 'nothing', [hold(60), hold(60)], {
      '201, 402 quota_exceeded': [0, 60],
      '402 quota_exceeded, 201': [0, 60],
    }),
    switches: 2,
  },
  pair('an event × the same event', '40 used', [record(20, 'same'), record(20, 'same')], { '201, 200': [60, 0], '200, 201': [60, 0] }),
  pair('a settlement × the expiry of the hold', '60 held, expired', [settle('one'), expire], { '201, 200': [60, 0] }),
  pair('a release × the expiry of the hold', '60 held, expired', [release, expire], { '204, 200': [0, 0] }),
  pair('a settlement × another settlement', '60 held', [settle('one'), settle('two')], {
    '201, 409 hold_settled': [60, 0],
    '409 hold_settled, 201': [60, 0],
  }),
  pair('a settlement × the same settlement', '60 held', [settle('one'), settle('one')], { '201, 200': [60, 0], '200, 201': [60, 0] }),
  pair('a settlement × a release', '60 held', [settle('one'), release], { '201, 409 hold_settled': [60, 0], '201, 204': [60, 0] }),
];
