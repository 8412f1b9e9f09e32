import { CLERK_ISSUER, type ClerkKey, clerkToken, makeClerkKey } from '../../simulators/clerk.js';
import { startTestApp, type TestApp } from '../app.js';
import { untilProcessed } from './clerk-deliveries.js';
import { CLERK_INSTANCE_ID, CLERK_WEBHOOK_SECRET, type ClerkEvent, clerkEvent, deliver, newMessageId } from './clerk-events.js';
import { type SignedInPerson, signUpOperator } from '../people.js';

export interface ClerkUserView {
  id: string;
  email: string | null;
  emailVerified: boolean;
  name: string;
  username: string | null;
  imageUrl: string | null;
  createdAt: string;
}

let counter = 0;

/** A new Clerk id. */
export function newClerkId(kind: 'user' | 'org' | 'orgmem' | 'orginv' | 'sess'): string {
  return `${kind}_${(counter += 1)}of${process.pid}`;
}

export function newAddress(): string {
  return `clerk-${(counter += 1)}-${process.pid}@example.com`;
}

/** The application with a simulated Clerk, an operator, and users with Clerk tokens. */
export class ClerkApp {
  /** The time of the last event, in milliseconds. Each event is one second after the previous one. */
  private clock = Date.now() - 3_600_000;

  private constructor(
    readonly t: TestApp,
    readonly operator: SignedInPerson,
    private readonly key: ClerkKey,
  ) {}

  static async start(environment: Record<string, string> = {}): Promise<ClerkApp> {
    const key = await makeClerkKey('key-1');
    const t = await startTestApp({
      CLERK_ISSUER,
      CLERK_JWT_KEY: key.pem,
      CLERK_AUTHORIZED_PARTIES: 'https://app.example.com',
      CLERK_WEBHOOK_SIGNING_SECRET: CLERK_WEBHOOK_SECRET,
      CLERK_INSTANCE_ID,
      ...environment,
    });
    return new ClerkApp(t, await signUpOperator(t), key);
  }

  async close(): Promise<void> {
    await this.t.close();
  }

  /** The time of the next event. */
  tick(): number {
    return (this.clock += 1000);
  }

  event(type: string, data: Record<string, unknown>, timestamp = this.tick()): ClerkEvent {
    return clerkEvent(type, data, { timestamp });
  }

  /** Delivers an event with the current time, waits until it is processed, and returns its message id. */
  async emit(type: string, data: Record<string, unknown>): Promise<string> {
    return this.deliver(this.event(type, data));
  }

  /** Delivers one event, waits until it is processed, and returns its message id. */
  async deliver(event: ClerkEvent): Promise<string> {
    const id = newMessageId();
    const { status } = await deliver(this.t.url, event, { id });
    if (status !== 202) throw new Error(`${event.type} was answered with ${status}`);
    await untilProcessed({ db: this.t.db, urls: () => [this.t.url] });
    return id;
  }

  /** The authorization header of a Clerk user. */
  async as(clerkUserId: string, sid = `sess_of_${clerkUserId}`): Promise<{ authorization: string }> {
    return { authorization: `Bearer ${await clerkToken(this.key, { sub: clerkUserId, sid })}` };
  }

  /** Requests the own user with a Clerk token, and returns the status and the error code. */
  async tryAccess(clerkUserId: string, sid?: string): Promise<[number, string | undefined]> {
    const { status, body } = await this.t.http.get('/v1/users/me').set(await this.as(clerkUserId, sid));
    return [status, body.code as string | undefined];
  }

  /** A live user as an operator sees it. */
  async user(clerkUserId: string): Promise<ClerkUserView | undefined> {
    const { body } = await this.t.http.get('/v1/users').query({ clerkUserId }).set(this.operator.auth).expect(200);
    return (body.data as ClerkUserView[])[0];
  }

  /** The organizations of a Clerk user. */
  async organizationsOf(clerkUserId: string): Promise<{ id: string; name: string; slug: string | null; role: string }[]> {
    const { body } = await this.t.http
      .get('/v1/organizations')
      .set(await this.as(clerkUserId))
      .expect(200);
    return body.data;
  }

  /** The id of an organization, also of a deleted one. */
  async organizationId(clerkOrganizationId: string): Promise<string> {
    const [row] = await this.t.db.rows<{ id: string }>('SELECT id FROM organizations WHERE clerk_organization_id = $1', [
      clerkOrganizationId,
    ]);
    return row!.id;
  }

  /** The names and roles of the live members of an organization, as an operator sees them. */
  async members(organizationId: string): Promise<[string, string][]> {
    const { body } = await this.t.http.get(`/v1/organizations/${organizationId}/memberships`).set(this.operator.auth).expect(200);
    return (body.data as { user: { name: string }; role: string }[]).map(({ user, role }) => [user.name, role]);
  }

  /** The live sessions of a user, as an operator sees them. */
  async sessions(clerkUserId: string): Promise<{ ipAddress: string | null; userAgent: string | null; createdAt: string }[]> {
    const { id } = (await this.user(clerkUserId))!;
    const { body } = await this.t.http.get(`/v1/users/${id}/sessions`).set(this.operator.auth).expect(200);
    return body.data;
  }
}
