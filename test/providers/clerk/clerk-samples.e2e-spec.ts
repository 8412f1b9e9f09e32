import { ClerkWebhooks } from '../../../src/providers/clerk/clerk-webhooks.service.js';
import { startTestApp, type TestApp } from '../../support/app.js';
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
} from '../../support/clerk/clerk-events.js';
import {
  brokenAt,
  processingOf,
  type Json,
  wronglyProcessed,
  type Path,
  pathsOf,
  type Sample,
  SAMPLES,
  samplesIn,
} from '../../support/payload-samples.js';

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

describe('Clerk payloads', () => {
  let t: TestApp;
  let samples: Sample[];
  let copies = 0;
  beforeAll(async () => {
    t = await startTestApp({ CLERK_WEBHOOK_SIGNING_SECRET: CLERK_WEBHOOK_SECRET });
    const own = [...t.app.get(ClerkWebhooks).types].map((type): Sample => {
      const data = OWN[type] ?? { object: type.split('.')[0], id: 'sample', created_at: Date.now(), payer: { user_id: user.id } };
      return [type, JSON.parse(JSON.stringify(clerkEvent(type, data))) as Json];
    });
    samples = [...own, ...samplesIn('clerk')];
  });
  afterAll(() => t.close());

  /** Gives each sample its own users and organizations, so that a deletion in one does not affect the next. */
  function message([name, payload]: Sample): { name: string; messageId: string; body: string } {
    copies += 1;
    const body = JSON.stringify(payload);
    const own = body
      .replaceAll(/"((?:user|org|orgmem|orginv|sess)_[^"]*)"(?!:)/g, `"$1_${copies}"`)
      .replaceAll(/@(?=[a-z]+\.com")/g, `+${copies}@`)
      .replaceAll(/"slug":"([^"]+)"/g, `"slug":"$1-${copies}"`);
    return { name, messageId: newMessageId(), body: own };
  }

  it('are accepted, even where they break their published schema', async () => {
    const ends = await processingOf(t, samples.map(message));
    expect(ends.filter(({ status, error }) => !['processed', 'ignored'].includes(status) || error !== null)).toEqual([]);
    expect(ends.filter(({ status }) => status === 'processed').length).toBeGreaterThanOrEqual(16);
    expect(ends.length).toBeGreaterThanOrEqual(46);
  });

  it('are applied, ignored or quarantined, and never retried, when any one field is missing or null', async () => {
    const effects = new Set(Object.keys(OWN));
    const tried = new Set<string>();
    const broken = samples.flatMap(([name, payload]) => {
      const { type, data } = payload as { type: string; data: { object?: string } };
      // Ignored types need only their top-level fields, and each shape of our own types is tried once.
      const isNew = (at: Path) => {
        const place = `${effects.has(type) ? data.object : 'other'} ${at.join('.')}`;
        return SAMPLES !== undefined || (!tried.has(place) && tried.add(place));
      };
      const paths = pathsOf(payload).filter((at) => (effects.has(type) || at.length === 1) && isNew(at));
      return brokenAt([name, payload], paths);
    });
    const ends = await processingOf(t, broken.map(message));
    expect(ends.length).toBeGreaterThan(300);
    expect(wronglyProcessed(ends)).toEqual([]);
    const outcomes = new Map<string, number>();
    for (const { status } of ends) outcomes.set(status, (outcomes.get(status) ?? 0) + 1);
    expect([...outcomes.keys()].toSorted()).toEqual(['ignored', 'processed', 'quarantined']);
    // Only the ids are required; every other field may be missing.
    expect(outcomes.get('quarantined')! / ends.length).toBeLessThan(0.2);
  });
});
