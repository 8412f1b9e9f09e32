import { jest } from '@jest/globals';
import type { NestExpressApplication } from '@nestjs/platform-express';
import { RenewalChecks } from '../../src/subscriptions/reconciliation/renewal-checks.job.js';
import { SyncedSubscriptionsRepository } from '../../src/subscriptions/sync/synced-subscriptions.repository.js';
import { WebhooksRepository } from '../../src/webhooks/webhooks.repository.js';
import { simulate } from '../sim/simulation.js';
import { Violation } from '../sim/access-checker.js';

// A generous limit: a busy machine is not a failure.
jest.setTimeout(600_000);

describe('every payer has the paid access, and nobody else', () => {
  // A seed with many losses in which most is kept. Run more seeds and months with npm run sim.
  it.each([8])('in two simulated months with seed %i', async (seed) => {
    const { events, lost, outages, repaired, unconfirmed } = await simulate({ seed, months: 2 });
    // The run must contain every kind of trouble.
    for (const count of [events, lost, outages, repaired, unconfirmed]) expect(count).toBeGreaterThan(0);
  });
});

describe('the simulation itself', () => {
  it.each<[string, Parameters<typeof simulate>[0]]>([
    ['duplicate messages are stored again', { seed: 4, months: 1, sabotage: withoutDeduplication }],
    ['the order of events is ignored', { seed: 10, months: 2, sabotage: withoutOrder }],
    ['no renewal is checked', { seed: 2, months: 1, sabotage: withoutRenewalChecks }],
  ])('fails when %s', async (_, choices) => {
    await expect(simulate(choices)).rejects.toBeInstanceOf(Violation);
  });

  function withoutDeduplication(app: NestExpressApplication): void {
    const repository = app.get(WebhooksRepository);
    const insert = repository.insert.bind(repository);
    let count = 0;
    repository.insert = async (events, leaseSeconds) => {
      for (const event of events) event.messageId += ` ${(count += 1)}`;
      return insert(events, leaseSeconds);
    };
  }

  function withoutOrder(app: NestExpressApplication): void {
    const repository = app.get(SyncedSubscriptionsRepository);
    const look = repository.lockForSync.bind(repository);
    repository.lockForSync = async (...args) => {
      const seen = await look(...args);
      return seen && { ...seen, isNewer: true };
    };
  }

  function withoutRenewalChecks(app: NestExpressApplication): void {
    app.get(RenewalChecks).confirmDue = async () => Promise.resolve(0);
  }
});
