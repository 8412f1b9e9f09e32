import { jest } from '@jest/globals';
import type { NestExpressApplication } from '@nestjs/platform-express';
import { RenewalChecks } from '../../src/subscriptions/reconciliation/renewal-checks.job.js';
import { SyncedSubscriptionsRepository } from '../../src/subscriptions/sync/synced-subscriptions.repository.js';
import { WebhooksRepository } from '../../src/webhooks/webhooks.repository.js';
import { simulate } from '../sim/simulation.js';
import { Violation } from '../sim/watch.js';

// Nothing is expected to take that long; a busy machine is no failure, though.
jest.setTimeout(600_000);

describe('whoever pays has what they pay for, and nobody else', () => {
  // Of those that lose much, those that keep most are below. More of both: npm run sim.
  it.each([8])('in two simulated months, seed %i', async (seed) => {
    const { events, lost, outages, repaired, unconfirmed } = await simulate({ seed, months: 2 });
    // They were no quiet ones.
    for (const count of [events, lost, outages, repaired, unconfirmed]) expect(count).toBeGreaterThan(0);
  });
});

describe('the simulation itself', () => {
  it.each<[string, Parameters<typeof simulate>[0]]>([
    ['messages are kept as often as they come', { seed: 4, months: 1, sabotage: withoutDeduplication }],
    ['the order of events decides nothing', { seed: 10, months: 2, sabotage: withoutOrder }],
    ['no provider is asked when a date is over', { seed: 2, months: 1, sabotage: withoutQuestions }],
  ])('fails when %s', async (_, choices) => {
    await expect(simulate(choices)).rejects.toBeInstanceOf(Violation);
  });

  function withoutDeduplication(app: NestExpressApplication): void {
    const repository = app.get(WebhooksRepository);
    const insert = repository.insert.bind(repository);
    let count = 0;
    repository.insert = async (event) => insert({ ...event, messageId: `${event.messageId} ${(count += 1)}` });
  }

  function withoutOrder(app: NestExpressApplication): void {
    const repository = app.get(SyncedSubscriptionsRepository);
    const look = repository.lockForSync.bind(repository);
    repository.lockForSync = async (...asked) => {
      const seen = await look(...asked);
      return seen && { ...seen, isNewer: true };
    };
  }

  function withoutQuestions(app: NestExpressApplication): void {
    app.get(RenewalChecks).confirmDue = async () => Promise.resolve(0);
  }
});
