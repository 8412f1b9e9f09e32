import pg from 'pg';
import { isStaleStatement } from '../database-errors.js';
import { StatementSummaries } from '../statements/statement-summaries.js';
import { PipelinedStatement } from './pipelined-statement.js';

/** The number of statements of one turn that share a connection. */
const TOGETHER = 8;

/** Gets every finished statement. @param startedAt by `performance.now()` */
type StatementObserver = (statement: string, startedAt: number, error?: unknown) => void;

type Named = pg.QueryConfig & { name: string };

interface Slot {
  client: pg.Client;
  ready: Promise<unknown>;
  isReady: boolean;
  inFlight: number;
  /** When it last answered, or began to wait for an answer. */
  heardAt: number;
  dead: boolean;
}

/** A shared connection that is silent for this long is closed, and its statements fail. */
const ANSWER_WITHIN_MS = 5000;
const CHECK_EVERY_MS = 500;

/**
 * Prepared (named) statements share a few pipelined connections, which triples what one process can ask
 * (docs/decisions/0002). They are short by rule: a slow one delays those behind it. Everything else has its own connection.
 */
export class PipelinedPool extends pg.Pool {
  private readonly slots: (Slot | undefined)[];
  private current?: Slot;
  private room = 0;
  private checking?: NodeJS.Timeout;
  private readonly observers: StatementObserver[] = [];
  private readonly summaries = new StatementSummaries();

  constructor(
    private readonly config: pg.PoolConfig,
    lanes = 4,
  ) {
    super(config);
    this.slots = Array.from({ length: lanes });
    // Without a listener, a broken connection would end the process. The pool and the statements deal with it.
    this.on('error', () => undefined);
    this.on('connect', (client) => client.on('error', () => undefined));
  }

  // pg.Pool's query has seven overloads; only the shape that Drizzle and our statements use is told apart here.
  override query(...parameters: unknown[]): never {
    const [statement, values] = parameters as [pg.QueryConfig | string, unknown[] | undefined];
    const query = () => (super.query as (...all: unknown[]) => Promise<unknown>)(...parameters);
    if (typeof parameters.at(-1) === 'function') return query() as never;
    if (typeof statement === 'object' && statement.name !== undefined) return this.send(statement as Named, values) as never;
    const startedAt = performance.now();
    const answer = query();
    this.report(typeof statement === 'string' ? { text: statement } : statement, startedAt, answer);
    return answer as never;
  }

  observe(observer: StatementObserver): void {
    this.observers.push(observer);
  }

  /** Tells the observers when a statement has finished. */
  report({ name, text }: pg.QueryConfig, startedAt: number, answer: Promise<unknown>): void {
    if (this.observers.length === 0) return;
    const tell = (error?: unknown) => this.tell(name ?? this.summaries.of(text), startedAt, error);
    answer.then(() => tell(), tell);
  }

  get statementsUnderWay(): number {
    return this.slots.reduce((sum, slot) => sum + (slot?.inFlight ?? 0), 0);
  }

  override async end(): Promise<void> {
    clearInterval(this.checking);
    const clients = this.slots.flatMap((slot) => (slot === undefined || slot.dead ? [] : [slot.client]));
    this.slots.fill(undefined);
    await Promise.all([super.end(), ...clients.map((client) => client.end())]);
  }

  private async send(statement: Named, values: unknown[] | undefined, retries = this.slots.length): Promise<pg.QueryResult> {
    const slot = this.slotOfTurn();
    const startedAt = performance.now();
    if (slot.inFlight === 0) slot.heardAt = startedAt;
    slot.inFlight += 1;
    let failure: unknown;
    try {
      if (!slot.isReady) await slot.ready;
      return await new Promise<pg.QueryResult>((resolve, reject) => {
        corkWrites(slot.client);
        slot.client.query(new PipelinedStatement(statement, values, (error, result) => (error ? reject(error) : resolve(result))));
      });
    } catch (error) {
      failure = error;
      // The stack leads to the socket otherwise.
      Error.captureStackTrace(error as Error);
      const { severity } = error as { severity?: string };
      // Nothing has run, and every later use on that connection would fail in the same way.
      const isStale = isStaleStatement(error);
      // After a FATAL the socket is still open for a moment and would fail whatever is sent next.
      if (severity === undefined || severity === 'FATAL' || isStale) this.retire(slot);
      // All connections may be stale, and each retry retires one, so the last retry gets a new one.
      if (isStale && retries > 0) return await this.send(statement, values, retries - 1);
      throw error;
    } finally {
      slot.inFlight -= 1;
      slot.heardAt = performance.now();
      this.tell(statement.name, startedAt, failure);
    }
  }

  private tell(statement: string, startedAt: number, error: unknown): void {
    for (const observer of this.observers) observer(statement, startedAt, error);
  }

  /** One timer for all statements: one for each would cost as much as sending it. */
  private closeSilent(): void {
    const now = performance.now();
    for (const slot of this.slots)
      if (slot !== undefined && slot.inFlight > 0 && now - slot.heardAt > ANSWER_WITHIN_MS) slot.client.connection.stream.destroy();
  }

  /** Statements of one turn share a system call each way, which is their main cost; up to a bound, so that no connection idles. */
  private slotOfTurn(): Slot {
    if (this.current === undefined) setImmediate(() => (this.current = undefined));
    if (this.current === undefined || this.current.dead || this.room === 0) {
      this.current = this.leastBusy();
      this.room = TOGETHER;
    }
    this.room -= 1;
    return this.current;
  }

  private leastBusy(): Slot {
    let best = 0;
    for (const [index, slot] of this.slots.entries()) {
      if (slot === undefined) {
        best = index;
        break;
      }
      if (slot.inFlight < this.slots[best]!.inFlight) best = index;
    }
    return (this.slots[best] ??= this.open());
  }

  private open(): Slot {
    this.checking ??= setInterval(() => this.closeSilent(), CHECK_EVERY_MS).unref();
    const client = new pg.Client({ ...this.config, query_timeout: undefined, pipeline: true });
    const slot: Slot = { client, ready: client.connect(), isReady: false, inFlight: 0, heardAt: 0, dead: false };
    slot.ready.then(
      () => (slot.isReady = true),
      () => this.retire(slot),
    );
    client.on('error', () => this.retire(slot));
    client.on('end', () => this.retire(slot));
    return slot;
  }

  private retire(slot: Slot): void {
    if (slot.dead) return;
    slot.dead = true;
    const index = this.slots.indexOf(slot);
    if (index !== -1) this.slots[index] = undefined;
    // Its statements in flight finish or fail first.
    slot.client.end().catch(() => undefined);
  }
}

const held = new WeakSet<object>();

/** Buffers the writes of a connection until this turn of the event loop ends. */
export function corkWrites(client: pg.ClientBase): void {
  const { stream } = (client as pg.Client).connection;
  if (held.has(stream)) return;
  held.add(stream);
  stream.cork();
  setImmediate(() => {
    held.delete(stream);
    stream.uncork();
  });
}
