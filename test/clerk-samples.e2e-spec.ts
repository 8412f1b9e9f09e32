import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { ClerkWebhooks } from '../src/webhooks/clerk/clerk-webhooks.js';
import { startTestApp, type TestApp } from './support/app.js';
import { pour, settled } from './support/clerk-deliveries.js';
import {
  clerkEvent,
  CLERK_WEBHOOK_SECRET,
  deletedData,
  emailData,
  invitationData,
  membershipData,
  newMessageId,
  organizationData,
  sessionData,
  userData,
} from './support/clerk-events.js';

/** A folder with payloads of providers, for whoever has them: those of Clerk are in its folder `clerk`, one a file. */
const SAMPLES = process.env['WEBHOOK_SAMPLES_DIR'];

type Json = null | boolean | number | string | Json[] | { [name: string]: Json };

const user = {
  id: 'user_sample',
  email: { email: 'sample@example.com', verified: true },
  firstName: 'Ada',
  lastName: 'Lovelace',
  username: 'ada',
};
const organization = { id: 'org_sample', name: 'Acme', slug: 'acme', createdBy: user.id };
const invitation = { id: 'orginv_sample', organizationId: organization.id, email: 'guest@example.com' };
const session = { id: 'sess_sample', userId: user.id };

const OWN: Record<string, Record<string, unknown>> = {
  'user.created': userData({ ...user, otherEmails: [{ email: 'other@example.com', verified: false }] }),
  'user.updated': userData({ ...user, banned: true }),
  'user.deleted': deletedData('user', user.id, { external_id: null }),
  'organization.created': organizationData(organization),
  'organization.updated': organizationData({ ...organization, slug: null }),
  'organization.deleted': deletedData('organization', organization.id, { slug: 'acme' }),
  'organizationMembership.created': membershipData({ id: 'orgmem_sample', organization, user, role: 'org:admin' }),
  'organizationMembership.updated': membershipData({ id: 'orgmem_sample', organization, user, role: 'org:billing' }),
  'organizationMembership.deleted': membershipData({ id: 'orgmem_sample', organization, user }),
  'organizationInvitation.created': { ...invitationData(invitation), inviter_id: 'user_inviter' },
  'organizationInvitation.accepted': invitationData({ ...invitation, status: 'accepted', userId: user.id }),
  'organizationInvitation.revoked': invitationData({ ...invitation, status: 'revoked' }),
  'session.created': { ...sessionData(session), latest_activity: { object: 'session_activity', ip_address: '203.0.113.7' } },
  'session.ended': sessionData({ ...session, status: 'ended' }),
  'session.removed': sessionData({ ...session, status: 'removed' }),
  'session.revoked': sessionData({ ...session, status: 'revoked' }),
  'session.pending': sessionData({ ...session, status: 'pending' }),
  'email.created': emailData({ id: 'ema_sample' }),
};

/** Where every field of a payload is, at any depth. */
function pathsOf(value: Json, at: (string | number)[] = []): (string | number)[][] {
  if (typeof value !== 'object' || value === null) return [];
  const entries: [string | number, Json][] = Array.isArray(value) ? [...value.entries()] : Object.entries(value);
  return entries.flatMap(([name, child]) => [[...at, name], ...pathsOf(child, [...at, name])]);
}

/** The payload with one field changed; undefined takes it out. */
function changed(payload: Json, at: (string | number)[], to: Json | undefined): Json {
  const copy = structuredClone(payload);
  let parent = copy as Record<string | number, Json>;
  for (const name of at.slice(0, -1)) parent = parent[name] as typeof parent;
  const last = at.at(-1)!;
  if (to === undefined) delete parent[last];
  else parent[last] = to;
  return copy;
}

describe('payloads of every kind', () => {
  let t: TestApp;
  let samples: [name: string, payload: Json][];
  let copies = 0;
  beforeAll(async () => {
    t = await startTestApp({ CLERK_WEBHOOK_SIGNING_SECRET: CLERK_WEBHOOK_SECRET });
    const own = [...t.app.get(ClerkWebhooks).types].map((type): [string, Json] => {
      const data = OWN[type] ?? { object: type.split('.')[0], id: 'sample', created_at: Date.now(), payer: { user_id: user.id } };
      return [type, JSON.parse(JSON.stringify(clerkEvent(type, data))) as Json];
    });
    const folder = SAMPLES === undefined ? undefined : path.join(SAMPLES, 'clerk');
    const given =
      folder === undefined
        ? []
        : readdirSync(folder).map((file): [string, Json] => [file, JSON.parse(readFileSync(path.join(folder, file), 'utf8')) as Json]);
    samples = [...own, ...given];
  });
  afterAll(() => t.close());

  /** About people and organizations of its own: what one sample ends must not be in the way of the next. */
  function message(payload: Json): { messageId: string; body: string } {
    copies += 1;
    const body = JSON.stringify(payload);
    const own = body
      .replaceAll(/"((?:user|org|orgmem|orginv|sess)_[^"]*)"(?!:)/g, `"$1_${copies}"`)
      .replaceAll(/@(?=[a-z]+\.com")/g, `+${copies}@`)
      .replaceAll(/"slug":"([^"]+)"/g, `"slug":"$1-${copies}"`);
    return { messageId: newMessageId(), body: own };
  }

  /** Delivers them all, which must be taken; answers how each ended. */
  async function endsOf(
    named: [name: string, payload: Json][],
  ): Promise<{ name: string; status: string; attempts: number; error: string | null }[]> {
    const messages = named.map(([name, payload]) => ({ name, ...message(payload) }));
    const target = { db: t.db, urls: () => [t.url] };
    await pour(target, messages);
    await settled(target);
    const rows = await t.db.rows<{ message_id: string; status: string; attempts: number; last_error: string | null }>(
      'SELECT message_id, status, attempts, last_error FROM webhook_events WHERE message_id = ANY ($1)',
      [messages.map(({ messageId }) => messageId)],
    );
    const ends = new Map(rows.map((row) => [row.message_id, row]));
    return messages.map(({ name, messageId }) => {
      const { status, attempts, last_error: error } = ends.get(messageId)!;
      return { name, status, attempts, error };
    });
  }

  it('pass through, whatever they break of their own schema', async () => {
    const ends = await endsOf(samples);
    expect(ends.filter(({ status, error }) => !['processed', 'ignored'].includes(status) || error !== null)).toEqual([]);
    expect(ends.filter(({ status }) => status === 'processed').length).toBeGreaterThanOrEqual(16);
    expect(ends.length).toBeGreaterThanOrEqual(46);
  });

  it('are applied, ignored or put aside with any one field missing or null, at the first attempt', async () => {
    const effects = new Set(Object.keys(OWN));
    const tried = new Set<string>();
    const broken = samples.flatMap(([name, payload]) => {
      const { type, data } = payload as { type: string; data: { object?: string } };
      // Nobody looks into those of no use here; and of our own one of each shape will do.
      const isNew = (at: (string | number)[]) => {
        const place = `${effects.has(type) ? data.object : 'other'} ${at.join('.')}`;
        return SAMPLES !== undefined || (!tried.has(place) && tried.add(place));
      };
      const paths = pathsOf(payload).filter((at) => (effects.has(type) || at.length === 1) && isNew(at));
      return paths.flatMap((at) =>
        ([undefined, null] as const).map((to): [string, Json] => [
          `${name} with ${JSON.stringify(to)} at ${at.join('.')}`,
          changed(payload, at, to),
        ]),
      );
    });
    const ends = await endsOf(broken);
    expect(ends.length).toBeGreaterThan(300);
    expect(ends.filter(({ status, attempts, error }) => (error === null) !== (status !== 'quarantined') || attempts > 1)).toEqual([]);
    const outcomes = new Map<string, number>();
    for (const { status } of ends) outcomes.set(status, (outcomes.get(status) ?? 0) + 1);
    expect([...outcomes.keys()].toSorted()).toEqual(['ignored', 'processed', 'quarantined']);
    // What is needed is who it is about; all else may go.
    expect(outcomes.get('quarantined')! / ends.length).toBeLessThan(0.2);
  });
});
