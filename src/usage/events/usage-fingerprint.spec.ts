import { parseUsageEvent } from './usage-event.schema.js';
import { fingerprintOf, isSameEvent } from './usage-fingerprint.js';

const ADA = '01980a3e-7c1d-7f6a-b1c2-3d4e5f607182';
const BOB = '01980a3e-7c1d-7f6a-b1c2-3d4e5f607183';
const EVENT = { eventId: 'e', model: 'gpt-5-mini', inputTokens: 10, outputTokens: 5, metadata: { b: 'é"', a: 1.5 } };

/** What the revision 88311cb stored of this event: without `userId`, and with Ada's. */
const OF_NOBODY = '218bc8250a62ee72fb39905078514302';
const OF_ADA = 'e2b75471330a67cc92612c6c610aa06e';
const WITH_TIME = '41909eb6748732f4058ab0fd0c7559c3';

function eventBy(
  actorUserId: string | null,
  { needsMembershipCheck = false, ...fields }: { needsMembershipCheck?: boolean } & Record<string, unknown> = {},
) {
  const answer = parseUsageEvent({ ...EVENT, ...fields }, 'body');
  if ('errors' in answer) throw new Error(JSON.stringify(answer.errors));
  const { content } = answer.event;
  return { content, fingerprint: fingerprintOf(content, actorUserId), actorUserId, needsMembershipCheck };
}

describe('two events with the same id', () => {
  it('match when their content and user match', () => {
    const stored = eventBy(ADA).fingerprint;
    expect(isSameEvent(stored, eventBy(ADA))).toBe(true);
    expect(isSameEvent(stored, eventBy(ADA, { needsMembershipCheck: true }))).toBe(true);
    expect([eventBy(BOB), eventBy(null), eventBy(ADA, { inputTokens: 11 })].map((event) => isSameEvent(stored, event))).toEqual([
      false,
      false,
      false,
    ]);
  });

  it('match an event from before the upgrade, with any way of naming the caller', () => {
    expect([eventBy(ADA), eventBy(BOB), eventBy(null)].map((event) => isSameEvent(OF_NOBODY, event))).toEqual([true, true, true]);
    expect([eventBy(ADA), eventBy(ADA, { needsMembershipCheck: true })].map((event) => isSameEvent(OF_ADA, event))).toEqual([true, true]);
    const timed = { inputTokens: undefined, outputTokens: undefined, metadata: undefined, model: 'm', tokens: 3 };
    expect(isSameEvent(WITH_TIME, eventBy(ADA, { ...timed, occurredAt: '2026-03-01T01:00:00+01:00' }))).toBe(true);
  });

  it('do not match an event from before the upgrade with other content or of another user', () => {
    const others = [eventBy(BOB), eventBy(null), eventBy(BOB, { needsMembershipCheck: true }), eventBy(ADA, { metadata: { a: 1.5 } })];
    expect(others.map((event) => isSameEvent(OF_ADA, event))).toEqual([false, false, false, false]);
    // Somebody who was named is not who left themselves out: nobody knows who that was.
    expect(isSameEvent(OF_NOBODY, eventBy(BOB, { needsMembershipCheck: true }))).toBe(false);
    expect(isSameEvent(OF_NOBODY, eventBy(ADA, { inputTokens: 11 }))).toBe(false);
  });

  it('match when the fingerprint was lost', () => {
    expect(isSameEvent('', eventBy(ADA))).toBe(true);
  });
});
