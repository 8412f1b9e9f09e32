import pg from 'pg';

/** What a process under measurement tells of itself. */
export interface Usage {
  /** CPU time since its start, all threads, in microseconds. */
  cpu: number;
  /** Resident memory in bytes. */
  rss: number;
  /** Parse messages sent to PostgreSQL. */
  parsed: { named: number; unnamed: number };
}

/** What one bout of work of a process without a server came to. */
export interface Work {
  count: number;
  milliseconds: number;
  cpu: number;
}

export type Question = { ask: 'usage' } | { ask: 'work'; milliseconds: number };

const CONCURRENCY = 64;

const parsed = { named: 0, unnamed: 0 };
const connection = pg.Connection.prototype as unknown as { parse(query: { name?: string }): void };
const { parse } = connection;
connection.parse = function count(query) {
  parsed[query.name ? 'named' : 'unnamed'] += 1;
  parse.call(this, query);
};

let operation: ((turn: number) => Promise<unknown>) | undefined;
let turn = 0;

// Loaded before the program under measurement, with --import: it answers its parent and goes when that goes.
process.on('disconnect', () => process.exit());
process.on('message', (question: Question) => {
  if (question.ask === 'usage') process.send?.({ cpu: cpu(), rss: process.memoryUsage.rss(), parsed } satisfies Usage);
  else void work(question.milliseconds).then((done) => process.send?.(done));
});

/** Tells the parent that this process can be measured. */
export function ready(port?: number): void {
  process.send?.({ port });
}

/** What this process was started with. */
export function given<T>(): T {
  return JSON.parse(process.argv[2]!) as T;
}

/** Offers an operation to be repeated as often as it goes, 64 at a time. */
export function offer(repeated: (turn: number) => Promise<unknown>): void {
  operation = repeated;
  ready();
}

async function work(milliseconds: number): Promise<Work> {
  if (operation === undefined) throw new Error('This process offers no work');
  const [from, start] = [cpu(), performance.now()];
  let count = 0;
  const lane = async () => {
    for (; performance.now() - start < milliseconds; count += 1) await operation!((turn += 1));
  };
  await Promise.all(Array.from({ length: CONCURRENCY }, lane));
  return { count, milliseconds: performance.now() - start, cpu: cpu() - from };
}

function cpu(): number {
  const { user, system } = process.cpuUsage();
  return user + system;
}
