import { AsyncLocalStorage } from 'node:async_hooks';
import type { Pool, PoolClient, QueryConfig } from 'pg';

/** A statement that waits until it may be sent. */
export interface Arrival {
  text: string;
  /** The transaction that it belongs to. Without one, it commits by itself. */
  transaction: object | undefined;
  /** Returns whether it succeeded, when its result is there. */
  send(): Promise<boolean>;
}

/** The statements of one operation, in the order in which it wants to send them. */
export class Lane {
  readonly arrivals: Arrival[] = [];
  isDone = false;
  private notify: () => void = () => undefined;

  async start<T>(operation: (lane: Lane) => Promise<T>): Promise<T> {
    return lanes
      .run(this, () => operation(this))
      .finally(() => {
        this.isDone = true;
        this.notify();
      });
  }

  /** Returns when the operation has a statement to send, or is done. */
  async isReady(): Promise<void> {
    while (this.arrivals.length === 0 && !this.isDone) await new Promise<void>((resolve) => (this.notify = resolve));
  }

  /** Sends all statements, so that the operation can end. */
  letGo(): void {
    this.isDone = true;
    for (const { send } of this.arrivals.splice(0)) void send();
  }

  async enter<T>(text: string, transaction: object | undefined, send: () => Promise<T>): Promise<T> {
    // Work that an operation leaves behind, such as a timer, is no part of it. Only limits of mails lock their row for longer.
    if (this.isDone || (transaction === undefined && text.includes('rate_limits'))) return send();
    return new Promise<T>((resolve, reject) => {
      const sendNow = async (): Promise<boolean> => {
        const sent = send();
        sent.then(resolve, reject);
        return sent.then(
          () => true,
          () => false,
        );
      };
      this.arrivals.push({ text, transaction, send: sendNow });
      this.notify();
    });
  }
}

/** The lane of the code that runs. Requests, jobs and worlds outside of a race have none. */
export const lanes = new AsyncLocalStorage<Lane | undefined>();

type Query = (config: QueryConfig | string, values?: unknown[]) => Promise<unknown>;

/** Lets statements of lanes wait before they leave the application for PostgreSQL. */
export function holdStatements(pool: Pool): void {
  const [connect, query] = [pool.connect.bind(pool), pool.query.bind(pool) as Query];
  Object.assign(pool, {
    query: (config: QueryConfig, values?: unknown[]) => enter(config, undefined, () => query(config, values)),
    // The pool's own query uses it with a callback.
    connect: (callback?: Parameters<typeof connect>[0]) => (callback === undefined ? connect().then(held) : connect(callback)),
  });
}

function held(client: PoolClient): PoolClient {
  const query = client.query.bind(client) as Query;
  const transaction = {};
  const heldQuery: Query = (config, values) => enter(config, transaction, () => query(config, values));
  return Object.create(client, { query: { value: heldQuery } }) as PoolClient;
}

async function enter<T>(config: QueryConfig | string, transaction: object | undefined, send: () => Promise<T>): Promise<T> {
  const lane = lanes.getStore();
  return lane === undefined ? send() : lane.enter(typeof config === 'string' ? config : config.text, transaction, send);
}
