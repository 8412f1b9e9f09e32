import { DatabaseClock } from '../../../src/platform/database/database-clock.service.js';
import { Clock, ClockOffset } from '../../../src/platform/time/clock.service.js';
import { startTestApp, type TestApp } from '../../support/app.js';
import { createTestDatabase, type TestDatabase } from '../../support/database.js';
import { until } from '../../support/until.js';
import { startTcpProxy, type TcpProxy } from '../../support/tcp-proxy.js';

const HOUR_MS = 3_600_000;

describe("the database's clock", () => {
  let db: TestDatabase;
  let proxy: TcpProxy;
  let t: TestApp;
  beforeAll(async () => {
    db = await createTestDatabase();
    const target = new URL(db.url);
    proxy = await startTcpProxy({ host: target.hostname, port: Number(target.port) });
    t = await startTestApp({ DATABASE_URL: Object.assign(target, { hostname: '127.0.0.1', port: String(proxy.port) }).href }, db);
  });
  afterAll(async () => {
    await t.close();
    await proxy.close();
    await db.drop();
  });

  /** In hours, which no busy machine takes to measure. */
  const hoursAhead = () => Math.round((t.app.get(Clock).now().getTime() - Date.now()) / HOUR_MS);

  it('is followed, and the last measurement stays while the database is unavailable', async () => {
    expect(hoursAhead()).toBe(0);
    t.app.get(ClockOffset).correct({ aheadMs: HOUR_MS, tookMs: 0 });
    await proxy.cut();
    await t.app.get(DatabaseClock).measure();
    expect(hoursAhead()).toBe(1);
    await proxy.resume();
    // The first query may still get a connection that was cut.
    await until(async () => {
      await t.app.get(DatabaseClock).measure();
      return hoursAhead() === 0;
    });
  });
});
