import fc from 'fast-check';
import type { ClerkEvent } from '../../support/clerk/clerk-events.js';
import { choicesArbitrary, type History, shuffled, historyFrom } from '../../support/clerk/clerk-histories.js';
import { expectedRowsOf } from '../../support/clerk/clerk-expected-rows.js';

const SAMPLE = { seed: 4, numRuns: 500 };

const TYPES = [
  ...['created', 'updated', 'deleted'].flatMap((what) => [`user.${what}`, `organization.${what}`, `organizationMembership.${what}`]),
  ...['created', 'accepted', 'revoked'].map((what) => `organizationInvitation.${what}`),
  ...['created', 'pending', 'ended', 'removed', 'revoked'].map((what) => `session.${what}`),
];

const read = ({ events }: History) => events.map((event) => ({ ...event, ...(JSON.parse(event.body) as ClerkEvent) }));

/** Expects that no two objects hold the same value at one moment. */
function expectOneHolder(states: Map<string, string | null>): void {
  const held = [...states.values()].filter((value) => value !== null);
  expect(new Set(held).size).toBe(held.length);
}

function primaryEmail(data: Record<string, unknown>): string | null {
  const addresses = data['email_addresses'] as { id: string; email_address: string }[];
  return addresses.find(({ id }) => id === data['primary_email_address_id'])?.email_address.toLowerCase() ?? null;
}

describe('a generated history', () => {
  it('never gives an address or a slug to two live objects at once', () => {
    const property = fc.property(choicesArbitrary(), (choices) => {
      const emails = new Map<string, string | null>();
      const slugs = new Map<string, string | null>();
      for (const { type, objectId, data } of read(historyFrom(choices, 'h1'))) {
        if (type === 'user.deleted') emails.delete(objectId);
        else if (type.startsWith('user.')) emails.set(objectId, primaryEmail(data));
        if (type === 'organization.deleted') slugs.delete(objectId);
        else if (type.startsWith('organization.')) slugs.set(objectId, data['slug'] as string | null);
        expectOneHolder(emails);
        expectOneHolder(slugs);
      }
    });
    fc.assert(property, SAMPLE);
  });

  it('has no event after a deletion, and creates no object twice', () => {
    const property = fc.property(choicesArbitrary(), (choices) => {
      const created: string[] = [];
      const messages: string[] = [];
      const dead = new Set<string>();
      let time = 0;
      for (const { type, objectId, messageId, timestamp } of read(historyFrom(choices, 'h1'))) {
        expect(timestamp).toBeGreaterThanOrEqual(time);
        time = timestamp;
        expect(dead).not.toContain(objectId);
        if (type.endsWith('.deleted')) dead.add(objectId);
        if (type.endsWith('.created')) created.push(objectId);
        messages.push(messageId);
      }
      expect(new Set(created).size).toBe(created.length);
      expect(new Set(messages).size).toBe(messages.length);
    });
    fc.assert(property, SAMPLE);
  });

  it('is the same for the same choices, except for its prefix', () => {
    const property = fc.property(choicesArbitrary(), (choices) => {
      const [one, other] = ['h1', 'h2'].map((prefix) =>
        JSON.stringify(historyFrom(choices, prefix).events).replaceAll(new RegExp(`${prefix}(?=[_-])`, 'g'), 'h'),
      );
      expect(one).toBe(other);
    });
    fc.assert(property, { ...SAMPLE, numRuns: 200 });
  });

  it('is delivered completely in any order, with some duplicates', () => {
    const property = fc.property(choicesArbitrary(), (choices) => {
      const { events } = historyFrom(choices, 'h1');
      fc.pre(events.length > 0);
      const deliveries = shuffled(events, choices);
      expect(new Set(deliveries)).toEqual(new Set(events));
      expect(deliveries).toHaveLength(events.length + choices.twice.length);
    });
    fc.assert(property, SAMPLE);
  });

  it('contains every interesting case often enough', () => {
    const histories = fc.sample(choicesArbitrary(), SAMPLE).map((choices) => historyFrom(choices, 'h1'));
    const share = (has: (history: History) => boolean) => histories.filter(has).length / histories.length;
    const hasEvent = (type: string) => share(({ events }) => events.some((event) => event.type === type));
    const events = histories.reduce((sum, history) => sum + history.events.length, 0) / histories.length;
    expect(events).toBeGreaterThan(6);
    for (const type of TYPES) expect({ type, isOften: hasEvent(type) > 0.02 }).toEqual({ type, isOften: true });
    expect(share(({ clerk }) => clerk.tied)).toBeGreaterThan(0.05);
    expect(share((history) => expectedRowsOf(history) !== undefined)).toBeGreaterThan(0.6);
    const merges = share((history) => Object.values(expectedRowsOf(history)?.locals ?? {}).some((local) => 'mergedInto' in local));
    expect(merges).toBeGreaterThan(0.08);
  });
});
