import { addRenewingSubscription } from '../subscriptions/subscriptions.seed.js';
import { type Answer, call, fill, type Operation, withoutRequestId } from './api.js';
import type { TestDatabase } from './database.js';
import type { CallerName, Values } from './expectations.js';
import { bodyOf, expectationOf, pathValues, queryOf, statusFor, tenantParameters, unknownValues, valuesOf } from './operations.js';
import { rowsNaming } from './snapshots.js';
import { addMember, createPerson, createTenant, holdJobs, type Person, type Tenant } from './tenant-world.js';

/** Two organizations that have nothing to do with each other, one that was deleted, and people of none. */
export interface World {
  own: Tenant;
  other: Tenant;
  /** A tenant with one admin only. */
  lonely: Tenant;
  gone: Tenant;
  outsider: Person;
  operator: Person;
}

export async function createWorld(db: TestDatabase): Promise<World> {
  // They would remove the expired and mark the lapsed, which is no request's doing.
  await holdJobs(db, ['expire_sessions', 'expire_invitations']);
  const second = await createTenant(db, 'second');
  const world = {
    own: await createTenant(db, 'own'),
    other: await createTenant(db, 'other'),
    lonely: await createTenant(db, 'lonely'),
    gone: await createTenant(db, 'gone', { deletedAt: new Date() }),
    outsider: await createPerson(db),
    operator: await createPerson(db, 'operator', { operator: true }),
  };
  // Two organizations of one person, so that the list of theirs has a second page.
  await addMember(db, second, world.other.admin);
  // What the other tenant and its people are charged for must not end with somebody else.
  for (const { organization, member } of [world.other, world.own]) {
    await addRenewingSubscription(db, { kind: 'organization', id: organization.id });
    await addRenewingSubscription(db, { kind: 'user', id: member.id });
  }
  await db.rows('UPDATE organization_memberships SET deleted_at = now() WHERE organization_id = $1 AND user_id <> $2', [
    world.lonely.organization.id,
    world.lonely.admin.id,
  ]);
  return world;
}

type Credentials = Record<string, string>;

/** Somebody who tries to get at a tenant that is not theirs, or not theirs to that extent. */
interface Caller {
  name: string;
  headers: Credentials;
  /** The tenant that the caller does not belong to. */
  victim: Victim;
  /** Ids of that tenant. */
  foreign: Values;
  /** A tenant of their own, for requests that mix the two. */
  own?: Values;
  /** Their own row is theirs to read and change. */
  self?: Person;
  /** Narrows the operations; all of them where absent. */
  tries?: (operation: Operation) => boolean;
  /** What every answer must be, where it is the same for all operations. */
  refusedWith?: number;
}

/** What must neither be read nor changed. */
interface Victim {
  organizationId: string;
  isDeleted: boolean;
  people: Person[];
  /** Ids of other rows. */
  rowIds: string[];
  secrets: string[];
}

/** What to look at, for a crawl that need not be complete. */
export interface Narrowed {
  callers?: string[];
  operations?: string[];
}

export interface Crawl {
  findings: string[];
  /** Operations that were called, by caller. */
  visited: Map<string, Set<string>>;
  requests: number;
}

/** Tried last: they end what the caller is. */
const SELF_DESTRUCTIVE = ['changePassword', 'revokeOtherSessions', 'deleteMe', 'signOut'];

/** Hashing a password takes its time: one caller without and one with a credential will do. */
const SLOW = new Set(['signUp', 'signIn']);

/** Sends ids of another tenant to every operation, as every kind of caller outside of it, and returns the findings. */
export async function crawl(
  at: { url: string; db: TestDatabase; operations: Operation[] },
  world: World,
  narrowed: Narrowed = {},
): Promise<Crawl> {
  return new Crawler(at, world, narrowed).run();
}

class Crawler {
  private readonly result: Crawl = { findings: [], visited: new Map(), requests: 0 };
  private readonly url: string;
  private readonly db: TestDatabase;
  private readonly operations: Operation[];
  private before = '';
  private readonly given: string[] = [];
  /** Cursors of the other tenant's lists, by operation. */
  private readonly cursors = new Map<string, string>();

  constructor(
    { url, db, operations }: { url: string; db: TestDatabase; operations: Operation[] },
    private readonly world: World,
    private readonly narrowed: Narrowed,
  ) {
    const rank = ({ id }: Operation) => SELF_DESTRUCTIVE.indexOf(id);
    this.operations = operations.filter(({ id }) => narrowed.operations?.includes(id) !== false).toSorted((a, b) => rank(a) - rank(b));
    this.url = url;
    this.db = db;
  }

  async run(): Promise<Crawl> {
    await this.collectCursors();
    for (const caller of this.callers()) {
      if (this.narrowed.callers?.includes(caller.name) === false) continue;
      await this.remember(caller);
      for (const operation of this.operations) {
        if (caller.tries?.(operation) === false) continue;
        if (SLOW.has(operation.id) && !['signed out', 'admin of another organization'].includes(caller.name)) continue;
        await this.attempt(caller, operation);
      }
      await this.lookForChanges(caller, 'one of those that were refused');
    }
    if (this.isAsked('insiders')) await this.tryInsiders();
    if (this.isAsked('untrusted page')) await this.tryUntrustedPage();
    if (this.isAsked('idempotency key')) await this.tryIdempotencyKey();
    if (this.isAsked('last admin')) await this.tryLastAdmin();
    return this.result;
  }

  private callers(): Caller[] {
    const { own, other, gone, outsider, operator } = this.world;
    const stranger = (name: string, headers: Credentials, self?: Person, ownValues?: Values): Caller => {
      return { name, headers, victim: whole(other), foreign: valuesOf(other), self, own: ownValues };
    };
    const dead = (name: string, headers: Credentials, refusedWith = 401): Caller => {
      return { ...stranger(name, headers), refusedWith, tries: ({ isPublic }) => !isPublic };
    };
    const ofTenant = ({ path, id }: Operation) => /organizations\/(\{organizationId\}|by-slug)/.test(path) && id !== 'restoreOrganization';
    const ofGone = (name: string, headers: Credentials, self?: Person): Caller => {
      return { name, headers, victim: whole(gone), foreign: valuesOf(gone), self };
    };
    return [
      stranger('signed out', {}),
      stranger('outsider', outsider.auth, outsider),
      stranger('key of another organization', own.keys.full.auth, undefined, valuesOf(own)),
      stranger('key without scopes of another organization', own.keys.bare.auth, undefined, valuesOf(own)),
      stranger('member of another organization', own.member.auth, own.member, valuesOf(own)),
      stranger('admin of another organization', own.admin.auth, own.admin, valuesOf(own)),
      stranger('invited elsewhere', own.invited.auth, own.invited),
      stranger('former admin', other.left.auth, other.left),
      {
        ...stranger('squatter on an invited address', other.squatter.auth, other.squatter),
        foreign: { ...valuesOf(other), invitationId: other.invitations.squatted, token: other.squattedToken },
      },
      dead('revoked session', other.dead.revoked),
      dead('expired session', other.dead.expired),
      dead('ended session', other.dead.ended),
      dead('session of a deleted admin', other.deleted.auth),
      dead('session of a suspended admin', other.suspended.auth, 403),
      dead('revoked key', other.keys.revoked.auth),
      dead('expired key', other.keys.expired.auth),
      { ...ofGone('key of a deleted organization', gone.keys.full.auth), refusedWith: 401, tries: ({ isPublic }) => !isPublic },
      ofGone('admin of a deleted organization', gone.admin.auth, gone.admin),
      ofGone('invited to a deleted organization', gone.invited.auth, gone.invited),
      {
        ...stranger('operator', operator.auth, operator),
        tries: (operation) => ofTenant(operation) && operation.method !== 'GET',
      },
      { ...ofGone('operator at a deleted organization', operator.auth, operator), tries: ofTenant },
      {
        ...stranger('admin, about somebody who left', other.admin.auth, undefined, valuesOf(other)),
        victim: {
          organizationId: other.organization.id,
          isDeleted: false,
          people: [other.left],
          rowIds: [],
          secrets: [other.memberships.left, ...secretsOfPerson(other.left)],
        },
        foreign: {
          ...unknownValues(other),
          membershipId: other.memberships.left,
          userId: other.left.id,
          email: other.left.email,
          name: other.left.name,
        },
        tries: ({ id }) => ['listMemberships', 'getUser', 'changeMembershipRole', 'removeMembership', 'revokeSession'].includes(id),
      },
    ];
  }

  /** One operation, with the foreign values in each place that takes one. */
  private async attempt(caller: Caller, operation: Operation): Promise<void> {
    this.visit(caller.name, operation);
    let mayHaveChanged = false;
    for (const { place, foreign, unknown, query, body, unknownQuery, unknownBody } of this.variants(caller, operation)) {
      const answer = await this.send(operation, foreign, caller.headers, query, body);
      const where = `${caller.name}: ${operation.id} with ${place}`;
      this.lookForLeaks(where, caller, answer, JSON.stringify([foreign, query, body]));
      // Accepted values appear later in the lists of the same caller.
      if (place.startsWith('body') && answer.status < 400) this.given.push(JSON.stringify(body));
      mayHaveChanged ||= operation.method !== 'GET' && (answer.status < 400 || answer.status >= 500);
      if (answer.status >= 500) this.find(where, `${answer.status}`);
      if (caller.refusedWith !== undefined && answer.status !== caller.refusedWith)
        this.find(where, `${answer.status} instead of a refusal`);
      // A caller who is always refused learns nothing from the refusal.
      if (place === 'nothing of theirs' || answer.status === (caller.refusedWith ?? 401)) continue;
      const control = await this.send(operation, unknown, caller.headers, unknownQuery, unknownBody);
      if (place in (expectationOf(operation.id).reveals ?? {})) continue;
      if (answer.status !== control.status)
        this.find(where, `${answer.status}, but ${control.status} for unknown ids: ${answer.text.slice(0, 200)}`);
      else if (answer.status >= 400 && comparable(answer, foreign) !== comparable(control, unknown))
        this.find(where, `${answer.text} differs from ${control.text}`);
    }
    if (mayHaveChanged) await this.lookForChanges(caller, operation.id);
  }

  /** A request for each place: all of the path, the path in each mixture with one's own, every query parameter, every field. */
  private variants({ foreign, own, name, victim }: Caller, operation: Operation): Variant[] {
    const none = unknownValues(this.world.other);
    const plainBody = (values: Values) => bodyOf(operation.id, values);
    // The longest page: what does not belong must not hide behind what does.
    const page: Record<string, string> = operation.queryParameters.includes('limit') ? { limit: '100' } : {};
    const plainQuery = (values: Values) => ({ ...page, ...queryOf(operation.id, values) });
    const inPath = tenantParameters(operation);
    const variants: Variant[] = [];
    const path = (place: string, values: Values, unknown: Values) => {
      const [query, unknownQuery, body, unknownBody] = [plainQuery(values), plainQuery(unknown), plainBody(values), plainBody(unknown)];
      variants.push({ place, foreign: values, unknown, query, unknownQuery, body, unknownBody });
    };
    if (inPath.length > 0 && name !== 'admin, about somebody who left') path('path', foreign, none);
    if (own !== undefined && inPath.length > 1) {
      for (const parameter of inPath) {
        const mixed = (values: Values) => ({ ...own, [parameter]: values[parameter]! });
        path(`path.${parameter}, the rest one’s own`, mixed(foreign), mixed(none));
      }
    } else if (own !== undefined && inPath.length === 1 && name === 'admin, about somebody who left') {
      path('path', inPath[0] === 'organizationId' ? own : foreign, inPath[0] === 'organizationId' ? own : none);
    }

    // Query and body are tried where the path leads to something of one's own, or needs nothing.
    const base = inPath.length === 0 ? (own ?? none) : own;
    if (base === undefined) return variants;
    const isOwnOrganization = own?.organizationId === victim.organizationId;
    for (const parameter of operation.queryParameters) {
      if (parameter === 'cursor' && isOwnOrganization) continue;
      const value = this.queryValue(parameter, foreign, operation);
      if (value === undefined) continue;
      const unknownValue = parameter === 'cursor' ? 'made.up' : this.queryValue(parameter, none, operation)!;
      const required = plainQuery(base);
      variants.push({
        place: `query.${parameter}`,
        foreign: base,
        unknown: base,
        query: { ...required, [parameter]: value },
        unknownQuery: { ...required, [parameter]: unknownValue },
        body: plainBody(base),
        unknownBody: plainBody(base),
      });
    }
    for (const [field, foreignValues] of Object.entries(expectationOf(operation.id).foreign ?? {})) {
      for (const [index, value] of foreignValues(foreign, victim).entries()) {
        const query = plainQuery(base);
        const body = { ...plainBody(base), [field]: value };
        const unknownBody = { ...plainBody(base), [field]: foreignValues(unknownValues(this.world.other), victim)[0] };
        const place = `body.${field}${index === 0 ? '' : ` (${index + 1})`}`;
        variants.push({ place, foreign: base, unknown: base, query, unknownQuery: query, body, unknownBody });
      }
    }
    // Lists of one's own must hold nothing of others, and every operation is to be called.
    if (operation.method === 'GET' || variants.length === 0) {
      const body = plainBody(base);
      const query = plainQuery(base);
      variants.unshift({ place: 'nothing of theirs', foreign: base, unknown: base, query, unknownQuery: query, body, unknownBody: body });
    }
    return variants;
  }

  private queryValue(parameter: string, values: Values, { id }: Operation): string | undefined {
    const all: Record<string, string | undefined> = {
      search: values.name,
      email: values.email,
      actorId: values.userId,
      targetId: values.membershipId,
      token: values.token,
      cursor: this.cursors.get(id),
    };
    return all[parameter];
  }

  /** Those of the tenant, beyond their role or scopes. */
  private async tryInsiders(): Promise<void> {
    const { other } = this.world;
    const insiders = [
      { name: 'member', headers: other.member.auth, as: 'member' as CallerName },
      { name: 'key with all scopes', headers: other.keys.full.auth, as: 'keyWithScope' as CallerName },
      { name: 'key without scopes', headers: other.keys.bare.auth, as: 'keyWithoutScope' as CallerName },
    ];
    for (const { name, headers, as } of insiders) {
      const caller: Caller = { name: `insider: ${name}`, headers, victim: whole(other), foreign: valuesOf(other) };
      await this.remember(caller);
      for (const operation of this.operations) {
        const expected = statusFor(operation.id, as);
        if (expected !== 403 || operation.isPublic) continue;
        this.visit(caller.name, operation);
        const values = valuesOf(other);
        const answer = await this.send(operation, values, headers, queryOf(operation.id, values), bodyOf(operation.id, values));
        if (answer.status !== expected) this.find(`${caller.name}: ${operation.id}`, `${answer.status} instead of ${expected}`);
      }
      await this.lookForChanges(caller, 'what is beyond the role or the scopes');
    }
  }

  /** A page of somebody else's that the admin's browser has open: the cookie comes along, the Origin tells. */
  private async tryUntrustedPage(): Promise<void> {
    const { other } = this.world;
    const headers = { cookie: other.admin.cookie, origin: 'https://evil.example' };
    const caller: Caller = { name: 'untrusted page', headers, victim: whole(other), foreign: valuesOf(other) };
    await this.remember(caller);
    for (const operation of this.operations) {
      if (operation.method === 'GET' || SLOW.has(operation.id)) continue;
      this.visit(caller.name, operation);
      const values = valuesOf(other);
      const answer = await this.send(operation, values, headers, undefined, bodyOf(operation.id, values));
      if (!operation.isPublic && answer.status !== 403) this.find(`${caller.name}: ${operation.id}`, `${answer.status} instead of 403`);
    }
    await this.lookForChanges(caller, 'what a page of somebody else’s sent');
  }

  /** The same Idempotency-Key, route and body must not bring up the other's stored answer. */
  private async tryIdempotencyKey(): Promise<void> {
    const { own, other } = this.world;
    const request = { method: 'POST', path: '/v1/organizations', body: { name: 'Twins' } };
    const key = { 'idempotency-key': 'a-key-that-both-use' };
    const first = await call(this.url, { ...request, headers: { ...other.admin.auth, ...key } });
    const second = await call(this.url, { ...request, headers: { ...own.coAdmin.auth, ...key } });
    const { id } = JSON.parse(first.text) as { id: string };
    if (second.status !== 201 || second.text.includes(id)) this.find('idempotency key', `the other’s answer came back: ${second.text}`);
  }

  /** The admins of other organizations are no reason to let an organization's only one go. */
  private async tryLastAdmin(): Promise<void> {
    const { organization, admin, memberships } = this.world.lonely;
    const path = `/v1/organizations/${organization.id}/memberships/${memberships.admin}`;
    const { status } = await call(this.url, { method: 'DELETE', path, headers: admin.auth });
    if (status !== 409) this.find('last admin', `the only admin could leave: ${status}`);
  }

  private async collectCursors(): Promise<void> {
    const { other } = this.world;
    for (const operation of this.operations) {
      if (operation.method !== 'GET' || !operation.queryParameters.includes('cursor')) continue;
      const { status, text } = await this.send(operation, valuesOf(other), other.admin.auth, { limit: '1' });
      const cursor = status === 200 ? (JSON.parse(text) as { nextCursor: string | null }).nextCursor : null;
      if (cursor !== null) this.cursors.set(operation.id, cursor);
    }
  }

  private async send(
    operation: Operation,
    values: Values,
    headers: Credentials,
    query?: Record<string, string>,
    body?: unknown,
  ): Promise<Answer> {
    this.result.requests += 1;
    return call(this.url, { method: operation.method, path: fill(operation, pathValues(operation, values)), headers, query, body });
  }

  /** Finds secrets and ids of the victim in a response that were not in the request. */
  private lookForLeaks(where: string, { victim, self }: Caller, { text, headers }: Answer, sent: string): void {
    const answered = `${text}\n${[...headers].map((header) => header.join(': ')).join('\n')}`;
    const known = `${sent}${JSON.stringify(self ?? {})}${this.given.join('')}`;
    for (const secret of victim.secrets) {
      if (answered.includes(secret) && !known.includes(secret)) this.find(where, `it told ${secret}: ${text.slice(0, 300)}`);
    }
  }

  private async remember(caller: Caller): Promise<void> {
    this.before = await this.snapshot(caller);
  }

  /** Compares the other tenant's rows with those of the last look. */
  private async lookForChanges(caller: Caller, after: string): Promise<void> {
    const now = await this.snapshot(caller);
    if (now !== this.before) this.find(`${caller.name}: ${after}`, 'it changed rows of the other tenant');
    this.before = now;
  }

  /** The rows of the other tenant and its people. */
  private async snapshot({ victim, self }: Caller): Promise<string> {
    const others = victim.people.map(({ id }) => id).filter((id) => id !== self?.id);
    return rowsNaming(this.db, [victim.organizationId, ...others, ...victim.rowIds], { exceptUserId: self?.id });
  }

  private isAsked(probe: string): boolean {
    return this.narrowed.callers === undefined || this.narrowed.callers.includes(probe);
  }

  private visit(caller: string, { id }: Operation): void {
    const visited = this.result.visited.get(caller) ?? new Set();
    this.result.visited.set(caller, visited.add(id));
  }

  private find(where: string, what: string): void {
    this.result.findings.push(`${where}: ${what}`);
  }
}

interface Variant {
  place: string;
  foreign: Values;
  unknown: Values;
  query: Record<string, string>;
  unknownQuery: Record<string, string>;
  body: unknown;
  unknownBody: unknown;
}

/** Everything and everybody of a tenant. */
function whole(tenant: Tenant): Victim {
  const { organization, isDeleted, admin, coAdmin, member, spare, left, suspended, deleted, invited, squatter } = tenant;
  const people = [admin, coAdmin, member, spare, left, suspended, deleted, invited, squatter];
  return {
    organizationId: organization.id,
    isDeleted,
    people,
    rowIds: Object.values({ ...tenant.values, ...tenant.memberships }),
    secrets: [...tenant.secrets, ...people.flatMap(secretsOfPerson)],
  };
}

function secretsOfPerson({ id, email, name, sessionId, otherSessionId, accountId, token }: Person): string[] {
  return [id, email, name, sessionId, otherSessionId, accountId, token];
}

/** An answer without what the request itself brought, and without its id. */
function comparable({ text }: Answer, values: Values): string {
  let plain = withoutRequestId(text);
  for (const [name, value] of Object.entries(values)) plain = plain.replaceAll(value, `<${name}>`);
  return plain;
}
