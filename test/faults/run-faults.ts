import { execFileSync } from 'node:child_process';
import { setTimeout as sleep } from 'node:timers/promises';
import { v7 } from 'uuid';
import { FuzzDocument } from '../support/fuzz/document.js';
import { PASSWORD } from '../support/people.js';
import { Books } from './books.js';
import { check, settle } from './checks.js';
import { Client } from './client.js';
import { type Injected, Injector } from './injector.js';
import type { FaultOptions, Sabotage } from './options.js';
import type { FaultyPostgres } from './postgres.js';
import { sabotage, type SabotageTarget } from './sabotage.js';
import { schedule } from './schedule.js';
import { Stage } from './stage.js';
import { type Person, Traffic } from './traffic.js';

/** Several times what a process needs; a leak in a short run stays below it, so long runs compare their thirds too. */
const LARGEST_MB = 700;
const GROWTH = 1.2;

/** Prints the acknowledged effects, each fault with its recovery, and each difference. Returns the exit code. */
export async function runFaults(postgres: FaultyPostgres, { seed, minutes, sabotages }: FaultOptions): Promise<number> {
  const planned = sabotages.length === 0 ? schedule(seed, minutes) : [];
  const stage = await Stage.open(postgres, sabotages.length === 0 ? 3 : 1);
  const books = new Books();
  const client = new Client(stage.balancer.url, await FuzzDocument.read(stage.balancer.url), books);
  try {
    const people = await signUpPeople(stage, client);
    const traffic = new Traffic(stage, client, books, people, seed);
    const memory = new Memory(stage);
    const running = traffic.run();
    const injected = await injectAll(stage, planned, minutes);
    traffic.stop();
    await running;
    memory.stop();
    await settle(stage);
    await stage.stopMails();
    const found = [...(await check(stage, books, client)), ...memory.findings(minutes)];
    const recoveries = injected.map((one) => ({ ...one, recoveredMs: books.recoveryAfter(one.overAt) }));
    found.push(...recoveries.filter(({ recoveredMs }) => recoveredMs === undefined).map(({ kind }) => `no recovery after: ${kind}`));
    if (found.length === 0 && sabotages.length > 0) return await tryChecks(sabotages, { stage, books, client, person: people[0]! });
    const verified = await stage.verify();
    if (verified.code !== 0) found.push(`verify exits with ${verified.code}:\n${verified.output}`);
    report(seed, books, recoveries, memory);
    console.log(found.length === 0 ? 'everything acknowledged is there exactly once' : `FAILS\n${found.slice(0, 30).join('\n')}`);
    return found.length === 0 ? 0 : 1;
  } finally {
    await stage.close();
  }
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

async function signUpPeople({ db }: Stage, client: Client): Promise<Person[]> {
  const people: Person[] = [];
  for (let count = 0; count < 3; count += 1) {
    const email = `person-${v7()}@example.com`;
    const answer = await client.untilAnswered({ operation: 'signUp', headers: {}, body: { email, name: 'A Person', password: PASSWORD } });
    people.push({ email, headers: { authorization: `Bearer ${answer!.headers.get('set-auth-token')}` } });
  }
  await db.rows('UPDATE users SET email_verified = true, email_verified_at = now()');
  return people;
}

async function injectAll(stage: Stage, planned: ReturnType<typeof schedule>, minutes: number): Promise<Injected[]> {
  const end = performance.now() + minutes * 60_000;
  const injector = new Injector(stage);
  const injected: Injected[] = [];
  for (const fault of planned) {
    await sleep(fault.pauseMs);
    injected.push(await injector.inject(fault));
  }
  // At least long enough to recover from the last fault.
  await sleep(Math.max(end - performance.now(), planned.length === 0 ? 0 : 3000));
  return injected;
}

/** The memory of the processes, once a second. */
class Memory {
  private readonly samples: number[] = [];
  private readonly timer = setInterval(() => this.measure(), 1000);

  constructor(private readonly stage: Stage) {}

  stop(): void {
    clearInterval(this.timer);
  }

  get largest(): number {
    return Math.max(0, ...this.samples);
  }

  findings(minutes: number): string[] {
    const found = this.largest > LARGEST_MB ? [`a process took ${this.largest} MB`] : [];
    if (minutes < 9) return found;
    const third = Math.floor(this.samples.length / 3);
    const [second, last] = [median(this.samples.slice(third, 2 * third)), median(this.samples.slice(2 * third))];
    return last > second * GROWTH ? [...found, `memory grew from ${second} to ${last} MB`] : found;
  }

  private measure(): void {
    const pids = this.stage.processes.filter((one) => !one.hasEnded()).map(({ pid }) => String(pid));
    if (pids.length === 0) return;
    try {
      const lines = execFileSync('ps', ['-o', 'rss=', '-p', pids.join(',')], { encoding: 'utf8' })
        .trim()
        .split('\n');
      this.samples.push(Math.round(Math.max(...lines.map(Number)) / 1024));
    } catch {
      // Every process has just ended.
    }
  }
}

function median(numbers: number[]): number {
  return numbers.toSorted((a, b) => a - b)[Math.floor(numbers.length / 2)]!;
}

function report(seed: string, books: Books, recoveries: (Injected & { recoveredMs?: number })[], memory: Memory): void {
  console.log(`seed ${seed}: acknowledged ${books.summary()}`);
  const statuses = Object.entries(books.statuses).map(([status, count]) => `${status}: ${count}`);
  console.log(`answers ${statuses.join(', ')}; the slowest after ${seconds(books.slowestMs)}; at most ${memory.largest} MB a process`);
  for (const { kind, recoveredMs, readyMs } of recoveries)
    console.log(
      `${kind.padEnd(36)} recovered after ${seconds(recoveredMs)}${readyMs === undefined ? '' : `, ready again after ${seconds(readyMs)}`}`,
    );
}

function seconds(ms: number | undefined): string {
  return ms === undefined ? 'never' : `${(ms / 1000).toFixed(1)} s`;
}
