import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { v7 } from 'uuid';
import type { Build } from '../../bench/support/build.js';
import { FuzzDocument } from '../support/fuzz/document.js';
import { PASSWORD } from '../support/people.js';
import { check, settle } from './checks.js';
import { type Injected, Injector } from './injector.js';
import { Memory } from './memory.js';
import type { FaultOptions, Sabotage } from './options.js';
import { sabotage, type SabotageTarget } from './sabotage.js';
import { clockShifts, schedule } from './schedule.js';
import type { FaultyPostgres } from './stage/postgres.js';
import { Stage } from './stage/stage.js';
import { buildOlderVersion, refBeforeNewestMigrations } from './stage/versions.js';
import { Books } from './traffic/books.js';
import { Client } from './traffic/client.js';
import { ProviderTraffic } from './traffic/provider-traffic.js';
import { type Person, Traffic } from './traffic/traffic.js';

/** Prints the acknowledged effects, each fault with its recovery, and each difference. Returns the exit code. */
export async function runFaults(postgres: FaultyPostgres, options: FaultOptions): Promise<number> {
  const old = options.isLong ? await buildOlderVersion(options.old ?? refBeforeNewestMigrations()) : undefined;
  try {
    return await runOnStage(postgres, options, old);
  } finally {
    old?.remove();
  }
}

async function runOnStage(postgres: FaultyPostgres, { seed, minutes, isLong, sabotages }: FaultOptions, old?: Build): Promise<number> {
  const planned = sabotages.length === 0 ? schedule(seed, minutes, { isLong }) : [];
  const clockShiftsMs = isLong ? clockShifts(seed) : [0, 0, 0].slice(sabotages.length === 0 ? 0 : 2);
  if (isLong) console.log(`the clocks of the new processes are ahead by ${clockShiftsMs.map((ms) => ms / 1000).join(', ')} s`);
  const stage = await Stage.open(postgres, { clockShiftsMs, old });
  const books = new Books();
  const client = new Client(stage.balancer.url, await documentsOf(stage), books);
  try {
    const people = await signUpPeople(stage, client);
    const [admin, operator] = people.map(({ headers }) => headers) as [Person['headers'], Person['headers']];
    const providers = new ProviderTraffic(stage.providers, client, books, { admin, operator }, seed);
    const traffic = new Traffic(client, books, people, providers, seed);
    const memory = new Memory(stage);
    const running = traffic.run();
    const injected = await injectAll(new Injector(stage, seed, () => providers.reconcile()), planned, minutes);
    traffic.stop();
    await running;
    memory.stop();
    await settle(stage, () => providers.undelivered);
    providers.close();
    await stage.stopMails();
    const found = [...(await check(stage, books, client)), ...memory.findings(minutes)];
    const recoveries = injected.map((one) => ({ ...one, recoveredMs: books.recoveryAfter(one.overAt) }));
    found.push(...recoveries.filter(({ recoveredMs }) => recoveredMs === undefined).map(({ kind }) => `no recovery after: ${kind}`));
    if (found.length === 0 && sabotages.length > 0) return await tryChecks(sabotages, { stage, books, client, person: people[0]! });
    const verified = await stage.command('verify');
    if (verified.code !== 0) found.push(`verify exits with ${verified.code}:\n${verified.output}`);
    report(seed, books, recoveries, memory);
    console.log(found.length === 0 ? 'everything acknowledged is there exactly once' : `FAILS\n${found.slice(0, 30).join('\n')}`);
    return found.length === 0 ? 0 : 1;
  } finally {
    await stage.close();
  }
}

/** An old process answers as the old document says. */
async function documentsOf({ balancer }: Stage): Promise<FuzzDocument[]> {
  return [new FuzzDocument(JSON.parse(readFileSync('openapi.json', 'utf8'))), await FuzzDocument.read(balancer.url)];
}

/** Returns 1 if each damage is found, and 0 if one is not. */
async function tryChecks(sabotages: Sabotage[], target: SabotageTarget): Promise<number> {
  const { stage, books, client } = target;
  let known: string[] = [];
  let missed = 0;
  for (const kind of sabotages) {
    await sabotage(kind, target);
    const all = await check(stage, books, client);
    const found = all.filter((one) => !known.includes(one));
    console.log(`${kind}: ${found.join('; ') || 'NOT FOUND'}`);
    if (found.length === 0) missed += 1;
    known = all;
  }
  return missed === 0 ? 1 : 0;
}

/** The second one is an operator. */
async function signUpPeople({ db }: Stage, client: Client): Promise<Person[]> {
  const people: Person[] = [];
  for (let count = 0; count < 3; count += 1) {
    const email = `person-${v7()}@example.com`;
    const answer = await client.untilAnswered({ operation: 'signUp', headers: {}, body: { email, name: 'A Person', password: PASSWORD } });
    people.push({ email, headers: { authorization: `Bearer ${answer!.headers.get('set-auth-token')}` } });
  }
  await db.rows('UPDATE users SET email_verified = true, email_verified_at = now(), operator = (email = $1)', [people[1]!.email]);
  return people;
}

async function injectAll(injector: Injector, planned: ReturnType<typeof schedule>, minutes: number): Promise<Injected[]> {
  const end = performance.now() + minutes * 60_000;
  const injected: Injected[] = [];
  for (const fault of planned) {
    await sleep(fault.pauseMs);
    injected.push(await injector.inject(fault));
  }
  // At least long enough to recover from the last fault.
  await sleep(Math.max(end - performance.now(), planned.length === 0 ? 0 : 3000));
  return injected;
}

function report(seed: string, books: Books, recoveries: (Injected & { recoveredMs?: number })[], memory: Memory): void {
  console.log(`seed ${seed}: acknowledged ${books.summary()}`);
  const statuses = Object.entries(books.statuses).map(([status, count]) => `${status}: ${count}`);
  console.log(`answers ${statuses.join(', ')}; the slowest after ${seconds(books.slowestMs)}; ${memory.summary}`);
  for (const { kind, recoveredMs, readyMs } of recoveries)
    console.log(
      `${kind.padEnd(36)} recovered after ${seconds(recoveredMs)}${readyMs === undefined ? '' : `, ready again after ${seconds(readyMs)}`}`,
    );
}

function seconds(ms: number | undefined): string {
  return ms === undefined ? 'never' : `${(ms / 1000).toFixed(1)} s`;
}
