import autocannon from 'autocannon';
import type { BenchDatabase } from './database.js';
import { options } from './options.js';
import type { Program } from './program.js';
import { comparison } from './report.js';
import { bearerOf } from './seed.js';

export const CONNECTIONS = 64;
export const ROUNDS = options.ci ? 3 : 5;
export const ROUND_MS = options.ci ? 1000 : 3000;

/** The result of one round. */
export interface Sample {
  perSecond: number;
  /** CPU time of the measured process per operation, in microseconds. */
  cpu: number;
}

export interface Contender {
  name: string;
  run(milliseconds: number): Promise<Sample>;
  /** The same operation of the other build. */
  before?: Contender;
}

export interface Result extends Sample {
  name: string;
  /** CPU time of PostgreSQL per operation, in microseconds. */
  databaseCpu: number | undefined;
  /** Median over the rounds of the rate relative to the first contender's rate in the same round. */
  rateRatio: number;
  /** The same for CPU: above 1 costs more than the first contender. */
  cpuRatio: number;
}

/** An operation of ours, compared with the same of the other build. */
export interface Comparison {
  name: string;
  rate: number;
  cpu: number;
  now: Pick<Result, 'cpu' | 'databaseCpu'>;
  before: Pick<Result, 'cpu' | 'databaseCpu'>;
}

/**
 * Runs all contenders in every round, so that other load on the machine affects them equally, and returns medians. The first contender is
 * the baseline.
 */
export async function compete(
  db: BenchDatabase,
  given: Contender[],
  { rounds: count = ROUNDS, roundMs = ROUND_MS } = {},
): Promise<Result[]> {
  const compared = given.filter(({ before }) => before !== undefined);
  const contenders = [...given, ...compared.map(({ before }) => before!)];
  for (const contender of contenders) await contender.run(ROUND_MS);
  const rounds: (Sample & { databaseCpu: number | undefined })[][] = [];
  for (let round = 0; round < count; round += 1) {
    const samples: (typeof rounds)[number] = [];
    for (let turn = 0; turn < contenders.length; turn += 1) {
      const index = (turn + round) % contenders.length;
      const [before, start] = [await db.cpu(), performance.now()];
      const sample = await contenders[index]!.run(roundMs);
      const [after, seconds] = [await db.cpu(), (performance.now() - start) / 1000];
      const databaseCpu = before === undefined || after === undefined ? undefined : (after - before) / (sample.perSecond * seconds);
      samples[index] = { ...sample, databaseCpu };
    }
    rounds.push(samples);
  }
  for (const contender of compared) {
    const indexes = [contenders.indexOf(contender), contenders.indexOf(contender.before!)] as const;
    compareWithBefore(
      contender.name,
      rounds.map((samples) => indexes.map((index) => samples[index]!) as [Cost, Cost]),
    );
  }
  return given.map(({ name }, index) => {
    const own = rounds.map((samples) => samples[index]!);
    const ratios = (key: keyof Sample) => median(rounds.map((samples) => samples[index]![key] / samples[0]![key]));
    return {
      name,
      perSecond: median(own.map(({ perSecond }) => perSecond)),
      cpu: median(own.map(({ cpu }) => cpu)),
      databaseCpu: own[0]!.databaseCpu === undefined ? undefined : median(own.map(({ databaseCpu }) => databaseCpu!)),
      rateRatio: ratios('perSecond'),
      cpuRatio: ratios('cpu'),
    };
  });
}

type Cost = Sample & { databaseCpu?: number };

/** Reports the medians over rounds of ours and of the other build. */
export function compareWithBefore(name: string, rounds: [Cost, Cost][]): void {
  const middle = (value: (round: [Cost, Cost]) => number) => median(rounds.map(value));
  const costs = (side: 0 | 1) => ({
    cpu: middle((round) => round[side].cpu),
    databaseCpu: rounds[0]![side].databaseCpu === undefined ? undefined : middle((round) => round[side].databaseCpu!),
  });
  comparison({
    name,
    rate: middle(([now, before]) => now.perSecond / before.perSecond),
    cpu: middle(([now, before]) => now.cpu / before.cpu),
    now: costs(0),
    before: costs(1),
  });
}

/** A process that is measured over HTTP. */
export function overHttp(name: string, program: Program, path: Path, headers = bearer, body?: Body): Contender {
  return {
    name,
    run: async (milliseconds) => {
      const before = await program.usage();
      const { answered, seconds } = await load(program.url, path, { milliseconds, headers, body });
      const after = await program.usage();
      return { perSecond: answered / seconds, cpu: (after.cpu - before.cpu) / answered };
    },
    ...(program.before && { before: overHttp(name, program.before, path, headers, body) }),
  };
}

/** Counts each of the `count` items of an operation. */
export function each(count: number, { name, run, before }: Contender): Contender {
  return {
    name,
    run: async (milliseconds) => {
      const { perSecond, cpu } = await run(milliseconds);
      return { perSecond: perSecond * count, cpu: cpu / count };
    },
    ...(before && { before: each(count, before) }),
  };
}

/** A process that repeats its own operation. */
export function byItself(name: string, program: Program): Contender {
  return {
    name,
    run: async (duration) => {
      const { count, milliseconds, cpu } = await program.work(duration);
      return { perSecond: count / (milliseconds / 1000), cpu: cpu / count };
    },
  };
}

type Headers = (session: number) => Record<string, string>;

export const bearer: Headers = (session) => ({ authorization: `Bearer ${bearerOf(session)}` });

/** One path for all sessions, or one for each. */
export type Path = string | ((session: number) => string);

/** Creates a new body for each request. */
export type Body = () => string;

interface Load {
  milliseconds: number;
  headers?: Headers;
  /** A GET without a body. */
  body?: Body;
  connections?: number;
  /** Requests per second over all connections; without it, as many as possible. */
  rate?: number;
  /** The time-out of a response in seconds, by default 10. */
  patienceSeconds?: number;
  /** Is called with the status of each response and its time in milliseconds. */
  onResponse?: (status: number, milliseconds: number) => void;
}

const SESSIONS_EACH = 16;

/** Sends the same request from many sessions. @throws {Error} when any request gets no response or one without a 2xx status */
export async function load(url: string, path: Path, given: Load): Promise<{ answered: number; seconds: number }> {
  const result = await sendLoad(url, path, given);
  const failed = result.non2xx + result.errors + result.timeouts;
  if (failed > 0) throw new Error(`${failed} requests to ${pathOf(path, 0)} failed: ${JSON.stringify(result.statusCodeStats)}`);
  return { answered: result['2xx'], seconds: result.duration };
}

export async function sendLoad(
  url: string,
  path: Path,
  { milliseconds, headers = () => ({}), body, connections = CONNECTIONS, rate, patienceSeconds = 10, onResponse }: Load,
): Promise<autocannon.Result> {
  const requestOf = (session: number) => ({
    path: pathOf(path, session),
    ...(body === undefined
      ? { method: 'GET' as const, headers: headers(session) }
      : { method: 'POST' as const, headers: { ...headers(session), 'content-type': 'application/json' } }),
  });
  const { path: firstPath, ...request } = requestOf(0);
  const first = await fetch(`${url}${firstPath}`, { ...request, ...(body !== undefined && { body: body() }) });
  if (!first.ok) throw new Error(`${firstPath} answers ${first.status}: ${await first.text()}`);
  let connection = 0;
  return autocannon({
    url,
    connections,
    duration: milliseconds / 1000,
    timeout: patienceSeconds,
    ...(rate !== undefined && { overallRate: rate }),
    setupClient: (client) => {
      if (onResponse !== undefined) client.on('response', (status, _bytes, time) => onResponse(status, time));
      // Each connection has its own sessions, because common ones would wait for the same rows.
      const own = (connection += 1) * SESSIONS_EACH;
      const perRequest = body && { setupRequest: (given: autocannon.Request) => ({ ...given, body: body() }) };
      client.setRequests(Array.from({ length: SESSIONS_EACH }, (_, index) => ({ ...requestOf(own + index), ...perRequest })));
    },
  });
}

function pathOf(path: Path, session: number): string {
  return typeof path === 'string' ? path : path(session);
}

export function median(values: number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = Math.floor(sorted.length / 2);
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
}
