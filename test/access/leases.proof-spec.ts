import { createTestDatabase, type TestDatabase } from '../support/database.js';
import { endProcesses, type Process, ready, startServer, until } from '../support/processes.js';
import { insertOperator, openSessions } from '../support/sessions.js';
import { startTcpProxy } from '../support/tcp-proxy.js';

const LIMIT = 600;
/** Ten calls a second refill. */
const REFILL = 10;
/** The part of the window that a lease covers. */
const LEASE_SECONDS = 3;

describe('leased calls of several processes', () => {
  let db: TestDatabase;
  beforeAll(async () => {
    db = await createTestDatabase();
  });
  afterEach(() => endProcesses());
  afterAll(() => db.drop());

  const serve = async (url = db.url) => ready(await startServer(url, { RATE_LIMIT_API: `${LIMIT}/60`, LOG_LEVEL: 'warn' }));
  const someone = async () => {
    const id = await insertOperator(db);
    return (await openSessions(db, [id]))(id);
  };
  const statusOf = async (process: Process, headers: Record<string, string>) => {
    const answer = await fetch(`${process.url}/v1/users/me`, { headers });
    await answer.text();
    return answer.status;
  };
  /** Sends parallel requests until all of 20 in a row are refused, and returns how many were served. */
  const exhaust = async (processes: Process[], headers: Record<string, string>) => {
    let served = 0;
    for (let refused = 0; refused < 20;) {
      const statuses = await Promise.all(Array.from({ length: 50 }, (_, index) => statusOf(processes[index % processes.length]!, headers)));
      const passed = statuses.filter((status) => status === 200).length;
      expect(statuses.filter((status) => status !== 200 && status !== 429)).toEqual([]);
      served += passed;
      refused = passed === 0 ? refused + 20 : 0;
    }
    return served;
  };

  it('never exceed the limit, and come close to it', async () => {
    const processes = await Promise.all([serve(), serve(), serve()]);
    for (let round = 0; round < 3; round += 1) {
      const headers = await someone();
      const start = performance.now();
      let served = 0;
      // Steady use, so that all processes hold leases, then everything at once.
      for (let turn = 0; turn < 40; turn += 1) {
        const statuses = await Promise.all(processes.map((process) => statusOf(process, headers)));
        served += statuses.filter((status) => status === 200).length;
      }
      const burst = await Promise.all(Array.from({ length: 1000 }, (_, index) => statusOf(processes[index % 3]!, headers)));
      served += burst.filter((status) => status === 200).length;
      const refilled = ((performance.now() - start) / 1000) * REFILL;
      expect(served).toBeLessThanOrEqual(LIMIT + Math.ceil(refilled));
      // Below the limit: what a lease covers, and what each process holds.
      expect(served).toBeGreaterThan(LIMIT - LEASE_SECONDS * REFILL - 3 * 75);
      const seconds = () => (performance.now() - start) / 1000;
      const later = await exhaust(processes, headers);
      expect(served + later).toBeLessThanOrEqual(LIMIT + Math.ceil(seconds() * REFILL));
    }
  }, 120_000);

  it('are lost for a while when a process is killed, and never made twice', async () => {
    const [killed, other] = await Promise.all([serve(), serve()]);
    const headers = await someone();
    const start = performance.now();
    let served = 0;
    for (let turn = 0; turn < 60; turn += 1) if ((await statusOf(killed, headers)) === 200) served += 1;
    killed.kill('SIGKILL');
    await killed.ended;
    served += await exhaust([other], headers);
    const refilled = ((performance.now() - start) / 1000) * REFILL;
    expect(served).toBeLessThanOrEqual(LIMIT + Math.ceil(refilled));
    expect(served).toBeGreaterThan(LIMIT - LEASE_SECONDS * REFILL - 75);
  }, 120_000);

  it('end while the database is away, and continue when it is back', async () => {
    const target = new URL(db.url);
    const proxy = await startTcpProxy({ host: target.hostname, port: Number(target.port) });
    target.port = String(proxy.port);
    try {
      const process = await serve(target.href);
      // Without a credential, only the limit needs the database.
      for (let turn = 0; turn < 60; turn += 1) expect(await statusOf(process, {})).toBe(401);
      await proxy.cut();
      const cutAt = performance.now();
      await until('a call is refused for lack of a database', async () => (await statusOf(process, {})) === 503);
      expect(performance.now() - cutAt).toBeLessThan((LEASE_SECONDS + 2) * 1000);
      for (let turn = 0; turn < 20; turn += 1) expect(await statusOf(process, {})).toBe(503);
      await proxy.resume();
      await until('calls are counted again', async () => (await statusOf(process, {})) === 401);
    } finally {
      await proxy.close();
    }
  }, 120_000);

  it('are given back by a process that stops', async () => {
    const process = await serve();
    const id = await insertOperator(db);
    const headers = (await openSessions(db, [id]))(id);
    const wholeAt = async () => {
      const [row] = await db.rows<{ at: number }>('SELECT extract(epoch FROM whole_at)::float8 AS at FROM rate_limits WHERE key = $1', [
        `api:${id}`,
      ]);
      return row!.at;
    };
    for (let turn = 0; turn < 60; turn += 1) await statusOf(process, headers);
    const held = await wholeAt();
    process.kill('SIGTERM');
    expect(await process.ended).toEqual({ code: 0, signal: null });
    expect(await wholeAt()).toBeLessThan(held);
  }, 120_000);
});
