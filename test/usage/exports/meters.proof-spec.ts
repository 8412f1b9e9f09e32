import { createTestDatabase, type TestDatabase } from '../../support/database.js';
import { type TestApp, testEnvironment } from '../../support/app.js';
import { isIngest, manualDispatcher, type MeterProvider, MeterWorld, recordUsage, tokensOf } from '../../support/usage/meter-world.js';
import { endProcesses, type Process, ready, runCommand, startServer, until } from '../../support/processes.js';

const EVENTS = 4000;

describe('usage exports by processes that are killed', () => {
  let db: TestDatabase;
  let world: MeterWorld;
  let recorder: TestApp;
  beforeAll(async () => {
    db = await createTestDatabase();
    world = await MeterWorld.start({ now: () => new Date() });
    // This application records usage, and the processes export it.
    recorder = await world.startApp(db);
    await manualDispatcher(recorder, 'polar');
  });
  afterAll(async () => {
    await endProcesses();
    await recorder.close();
    await world.close();
    await db.drop();
  });

  const start = async (provider?: MeterProvider) =>
    startServer(db.url, {
      ...world.environment,
      ...(provider === 'polar' && { DODO_METER_EVENT: '' }),
      ...(provider === 'dodo' && { POLAR_METER_EVENT: '' }),
      LOG_LEVEL: 'warn',
    });
  /** Makes the leases of killed processes expire. */
  const hurry = async () => db.rows('UPDATE meter_exports SET next_attempt_at = now() WHERE next_attempt_at IS NOT NULL');
  const left = async (provider: MeterProvider) =>
    (await db.rows('SELECT FROM meter_exports WHERE provider = $1::billing_provider', [provider])).length;

  /**
   * Kills a process at its second request: before the provider handles it (sent), or after it is handled and before the response (taken).
   */
  async function killAt(moment: 'sent' | 'taken', provider: MeterProvider, started: Promise<Process>): Promise<void> {
    const { control } = world[provider];
    let requests = 0;
    const killAtSecond = async () => {
      requests += 1;
      if (requests !== 2) return;
      const one = await started;
      one.kill('SIGKILL');
      await one.ended;
      // The response must not be used.
      if (moment === 'sent') world.faults[provider].push('hang');
    };
    if (moment === 'sent') world.onRequest[provider] = killAtSecond;
    else control.onDone = async (call) => (isIngest(call) ? killAtSecond() : undefined);
    expect(await (await started).ended).toEqual({ code: null, signal: 'SIGKILL' });
  }

  it('send a refused event again on command', async () => {
    const [event] = world.events('polar', world.newCustomer('polar'), 1);
    await recordUsage(recorder, [event!]);
    await db.rows('UPDATE meter_exports SET next_attempt_at = NULL');
    const [wrong, right] = await Promise.all(
      [[], ['polar']].map(async (provider) => runCommand(['meters', 'retry', ...provider], { env: testEnvironment(db.url) })),
    );
    expect(wrong).toEqual({ code: 2, output: expect.stringMatching(/^Missing required argument 'provider'\./) });
    expect(right).toEqual({ code: 0, output: '1 events will be sent again\n' });
    expect(await db.rows('DELETE FROM meter_exports WHERE next_attempt_at <= now() RETURNING event_id')).toEqual([
      { event_id: event!.eventId },
    ]);
  });

  it('count every event once, to the token', async () => {
    const events = {
      polar: world.events('polar', world.newCustomer('polar'), EVENTS),
      dodo: world.events('dodo', world.newCustomer('dodo'), EVENTS),
    };
    for (let from = 0; from < EVENTS; from += 1000)
      await recordUsage(recorder, [...events.polar.slice(from, from + 1000), ...events.dodo.slice(from, from + 1000)]);
    await killAt('taken', 'polar', start('polar'));
    await killAt('sent', 'dodo', start('dodo'));
    expect([await left('polar'), await left('dodo')]).toEqual([EVENTS - 1000, EVENTS - 1000]);
    expect([world.eventsAt('polar'), world.eventsAt('dodo')]).toEqual([2000, 1000]);

    await hurry();
    const survivor = await ready(await start('polar'));
    await killAt('taken', 'dodo', start());
    await hurry();
    const successor = await start();
    await until('all is told', async () => (await left('polar')) + (await left('dodo')) === 0);
    for (const provider of ['polar', 'dodo'] as const)
      expect([world.eventsAt(provider), world.tokensAt(provider)]).toEqual([EVENTS, tokensOf(events[provider])]);
    for (const one of [survivor, await ready(successor)]) {
      one.kill('SIGTERM');
      expect(await one.ended).toEqual({ code: 0, signal: null });
    }
  });
});
