/** The measurements that a process reports about itself (measured-process.mjs). */
export interface Usage {
  /** CPU time since its start, all threads, in microseconds. */
  cpu: number;
  /** Resident memory in bytes. */
  rss: number;
  /** Parse messages sent to PostgreSQL. */
  parsed: { named: number; unnamed: number };
  /** Executions of statements on the tables of the rate limit. */
  limiterStatements: number;
}

/** The result of some work in a process without a server. */
export interface Work {
  count: number;
  milliseconds: number;
  cpu: number;
}

export type Question = { ask: 'usage' } | { ask: 'work'; milliseconds: number };

const CONCURRENCY = 64;

/** Reports to the parent that this process can be measured. */
export function ready(port?: number): void {
  process.send?.({ port });
}

/** The arguments of this process. */
export function given(): unknown {
  return JSON.parse(process.argv[2]!);
}

/** Offers an operation for repetition, 64 at a time. */
export function offer(operation: (turn: number) => Promise<unknown>): void {
  let turn = 0;
  const work = async (milliseconds: number): Promise<Work> => {
    const [from, start] = [cpu(), performance.now()];
    let count = 0;
    const lane = async () => {
      for (; performance.now() - start < milliseconds; count += 1) await operation((turn += 1));
    };
    await Promise.all(Array.from({ length: CONCURRENCY }, lane));
    return { count, milliseconds: performance.now() - start, cpu: cpu() - from };
  };
  process.on('message', (question: Question) => {
    if (question.ask === 'work') void work(question.milliseconds).then((done) => process.send?.(done));
  });
  ready();
}

function cpu(): number {
  const { user, system } = process.cpuUsage();
  return user + system;
}
