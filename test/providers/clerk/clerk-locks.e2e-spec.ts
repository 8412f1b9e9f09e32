import pg from 'pg';
import { ClerkApp, newClerkId } from '../../support/clerk/clerk-app.js';
import { untilProcessed } from '../../support/clerk/clerk-deliveries.js';
import { clerkEvent, deliver, membershipData, organizationData, userData } from '../../support/clerk/clerk-events.js';
import { untilLocked } from '../../support/until.js';

describe('concurrent Clerk events', () => {
  let clerk: ClerkApp;
  let db: ClerkApp['t']['db'];
  beforeEach(async () => {
    clerk = await ClerkApp.start();
    ({ db } = clerk.t);
  });
  afterEach(() => clerk.close());

  const untilAllProcessed = async () => untilProcessed({ db, urls: () => [clerk.t.url] });

  it('about members of one organization do not deadlock', async () => {
    const organization = { id: newClerkId('org'), name: 'Acme', slug: null };
    await clerk.emit('organization.created', organizationData(organization));
    const members = Array.from({ length: 60 }, () => ({ id: newClerkId('orgmem'), organization, user: { id: newClerkId('user') } }));
    await Promise.all(members.map(async ({ user }) => deliver(clerk.t.url, clerkEvent('user.created', userData(user)))));
    await untilAllProcessed();
    const events = members.map((member) => clerkEvent('organizationMembership.created', membershipData(member)));
    await Promise.all(events.map(async (event) => deliver(clerk.t.url, event)));
    await untilAllProcessed();
    const [row] = await db.rows('SELECT member_count FROM organizations WHERE clerk_organization_id = $1', [organization.id]);
    expect(row).toEqual({ member_count: 60 });
    // Sessions report it after a pause.
    const reads = Array.from({ length: 3 }, async () =>
      db.rows<{ deadlocks: string }>('SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()'),
    );
    for (const [{ deadlocks } = { deadlocks: '' }] of await Promise.all(reads)) expect(deadlocks).toBe('0');
  });

  it('about one user lock the row of the user before the name of the owner', async () => {
    const id = newClerkId('user');
    const [creator, owner] = [new pg.Client({ connectionString: db.url }), new pg.Client({ connectionString: db.url })];
    await Promise.all([creator.connect(), owner.connect()]);
    try {
      await creator.query('BEGIN');
      await creator.query(`INSERT INTO users (id, name, clerk_user_id) VALUES (gen_random_uuid(), '', $1)`, [id]);
      await deliver(clerk.t.url, clerkEvent('user.updated', userData({ id, firstName: 'Ada' })));
      await untilLocked(db);
      await owner.query('BEGIN');
      await owner.query('SELECT pg_advisory_xact_lock(hashtextextended($1, 0))', [`owner:${id}`]);
      await creator.query('COMMIT');
      // While the owner's name is locked.
      await untilAllProcessed();
      expect(await db.rows('SELECT name FROM users WHERE clerk_user_id = $1', [id])).toEqual([{ name: 'Ada' }]);
    } finally {
      await Promise.all([creator.end(), owner.end()]);
    }
  });
});
