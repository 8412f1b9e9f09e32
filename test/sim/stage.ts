import type { AddressInfo } from 'node:net';
import type { NestExpressApplication } from '@nestjs/platform-express';
import { SchedulerRegistry } from '@nestjs/schedule';
import { v7 } from 'uuid';
import { loadConfig } from '../../src/platform/config/config.js';
import { JobsService } from '../../src/jobs/jobs.service.js';
import { createApp } from '../../src/create-app.js';
import { DodoAccount } from '../simulators/dodo-account.js';
import { startDodoApiSimulator } from '../simulators/dodo-api.js';
import { PolarAccount } from '../simulators/polar-account.js';
import { startPolarApiSimulator } from '../simulators/polar-api.js';
import type { Seeded } from '../simulators/seeded.js';
import type { VirtualClock } from '../simulators/virtual-time.js';
import { type SenderOptions, dodoSender, polarSender } from '../simulators/webhook-sender.js';
import { testEnvironment } from '../support/app.js';
import { BILLING_PRODUCTS, addProducts } from '../support/billing/billing-products.js';
import { dodoEnvironment, polarEnvironment } from '../support/billing/billing-clients.js';
import { useClock } from '../support/billing/billing-world.js';
import { CLERK_WEBHOOK_SECRET as SECRET } from '../support/clerk/clerk-events.js';
import { createTestDatabase, type TestDatabase } from '../support/database.js';
import { insertOperator, openSessions } from '../support/sessions.js';
import { startTcpProxy } from '../support/tcp-proxy.js';

/** The failures of messages; the loss rate is set for each provider. */
const FAULTS = { duplicated: 0.1, delayed: 0.1, reordered: 0.2, answerLost: 0.05, unreachable: 0.1 };

export interface StageOptions {
  clock: VirtualClock;
  chance: Seeded;
  /** Removes something essential, to show that the simulation detects it. */
  sabotage?: (app: NestExpressApplication) => void;
}

/** The real application between two simulated providers, over connections that can be cut. */
export async function openStage({ clock, chance, sabotage }: StageOptions) {
  const polar = new PolarAccount({ clock, seed: chance.next(), exhausted: chance.pick(['unpaid', 'canceled']) });
  const dodo = new DodoAccount({
    clock,
    seed: chance.next(),
    rendering: chance.pick(['latest', 'stored']),
    unpaid: chance.pick(['past_due', 'past_due', 'on_hold']),
    exhausted: chance.pick(['on_hold', 'cancelled']),
  });
  addProducts({ polar, dodo });
  const apis = [await startPolarApiSimulator({ account: polar }), await startDodoApiSimulator({ account: dodo })] as const;
  const outgoing = await Promise.all(apis.map(({ url }) => startTcpProxy({ host: '127.0.0.1', port: Number(new URL(url).port) })));
  const urls = outgoing.map(({ port }) => `http://127.0.0.1:${port}`);
  const db = await createTestDatabase();
  const config = loadConfig({
    ...testEnvironment(db.url),
    POLAR_WEBHOOK_SECRET: SECRET,
    DODO_PAYMENTS_WEBHOOK_KEY: SECRET,
    BILLING_PRODUCTS,
    ...polarEnvironment({ ...apis[0], url: urls[0]! }),
    ...dodoEnvironment({ ...apis[1], url: urls[1]! }),
  });
  const app = await createApp(config);
  sabotage?.(app);
  useClock(app, clock);
  await app.listen(0, '127.0.0.1');
  // The simulation runs jobs at their simulated time.
  app.get(SchedulerRegistry).deleteInterval('jobs');
  const { port } = app.getHttpServer().address() as AddressInfo;
  const incoming = await startTcpProxy({ host: '127.0.0.1', port });
  const senderOptions = (provider: string): SenderOptions => ({
    url: `http://127.0.0.1:${incoming.port}/webhooks/${provider}`,
    secret: SECRET,
    seed: chance.next(),
    faults: { ...FAULTS, lost: chance.pick([0.02, 0.1, 0.4, 0.9]) },
  });
  const senders = [polarSender(polar, senderOptions('polar')), dodoSender(dodo, senderOptions('dodo'))];
  const jobs = new Map((await app.get(JobsService).list()).map(({ job }) => [job.name, job]));
  return {
    app,
    db,
    url: `http://127.0.0.1:${port}`,
    polar,
    dodo,
    accounts: [polar, dodo],
    senders,
    /** From the providers to the application. */
    incoming,
    /** From the application to the providers. */
    outgoing,
    runJob: async (name: string) => jobs.get(name)!.run(new AbortController().signal),
    operator: await operatorOf(db),
    newOrganization: async () => {
      const id = v7();
      await db.rows('INSERT INTO organizations (id, name) VALUES ($1, $2)', [id, 'A buyer']);
      return id;
    },
    close: async () => {
      await app.close();
      for (const one of [incoming, ...outgoing, ...apis]) await one.close();
      await db.drop();
    },
  };
}

export type Stage = Awaited<ReturnType<typeof openStage>>;

async function operatorOf(db: TestDatabase): Promise<{ authorization: string }> {
  const id = await insertOperator(db);
  return (await openSessions(db, [id]))(id);
}
