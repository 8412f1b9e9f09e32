import { setTimeout as sleep } from 'node:timers/promises';
import { v7 } from 'uuid';
import { bodyAt, type ProviderEvent } from '../simulators/provider-event.js';
import { Seeded } from '../simulators/seeded.js';
import { clerkEvent, newMessageId, sign, userData } from '../support/clerk/clerk-events.js';
import { PASSWORD } from '../support/people.js';
import type { Books } from './books.js';
import type { Client, Request, Response } from './client.js';
import type { Stage } from './stage.js';

const CALLERS = 6;
const PAUSE_MS = 150;
/** Until every request is answered after the last fault. */
const PATIENCE_MS = 60_000;

export interface Person {
  email: string;
  headers: Record<string, string>;
}

/** What people, programs and providers do, each action to its end: a request is repeated until it is answered. */
export class Traffic {
  private isRunning = true;
  /** Organizations that use tokens up to their limit, the newest last. */
  private readonly users: string[] = [];
  private readonly pumped = new Set<ProviderEvent>();
  private count = 0;

  constructor(
    private readonly stage: Stage,
    private readonly client: Client,
    private readonly books: Books,
    private readonly people: Person[],
    private readonly seed: string,
  ) {}

  private readonly actions: [weight: number, action: (chance: Seeded) => Promise<unknown>][] = [
    [8, async (chance) => this.recordUsage(chance)],
    [3, async (chance) => this.useHold(chance)],
    [3, async (chance) => this.read(chance)],
    [2, async (chance) => this.invite(chance)],
    [2, async (chance) => this.receiveClerkUser(chance)],
    [2, async (chance) => this.useKey(chance)],
    [1, async () => this.createOrganization()],
    [1, async (chance) => this.signIn(chance)],
    [1, async (chance) => this.buy(chance)],
  ];

  /** Runs until `stop`. */
  async run(): Promise<void> {
    await this.createOrganization();
    const choices = this.actions.flatMap(([weight, action]) => Array.from({ length: weight }, () => action));
    const caller = async (number: number) => {
      const chance = new Seeded(`traffic ${this.seed} ${number}`);
      while (this.isRunning) {
        await chance.pick(choices)(chance);
        await sleep(PAUSE_MS);
      }
    };
    await Promise.all([...Array.from({ length: CALLERS }, (_, number) => caller(number)), this.deliverPolar()]);
  }

  /** No new actions; those under way are finished. */
  stop(): void {
    this.isRunning = false;
    setTimeout(() => (this.client.isOver = true), PATIENCE_MS).unref();
  }

  private get admin(): Record<string, string> {
    return this.people[0]!.headers;
  }

  private name(what: string): string {
    this.count += 1;
    return `${what}-${this.count}`;
  }

  private async ask(request: Omit<Request, 'headers'> & { headers?: Record<string, string> }): Promise<Response | undefined> {
    return this.client.untilAnswered({ headers: this.admin, ...request });
  }

  /** With an `Idempotency-Key`, so that a repetition has no second effect. */
  private async create(operation: string, body: object, path = {}): Promise<Response | undefined> {
    return this.ask({ operation, path, body, headers: { ...this.admin, 'idempotency-key': v7() } });
  }

  private async createOrganization(): Promise<string | undefined> {
    const name = this.name('Organization');
    const answer = await this.create('createOrganization', { name });
    if (answer?.status !== 201) return undefined;
    const id = answer.body['id'] as string;
    this.books.organizations.set(name, id);
    this.users.push(id);
    return id;
  }

  private organization(chance: Seeded): string {
    return chance.pick(this.users.slice(-3));
  }

  private async recordUsage(chance: Seeded): Promise<void> {
    const organizationId = this.organization(chance);
    const event = { eventId: this.name('event'), model: 'm', inputTokens: chance.between(100, 500) };
    const request = { operation: 'recordUsage', path: { organizationId }, body: event };
    const answer = await this.ask(request);
    if (answer === undefined || answer.status >= 300) return;
    this.books.noteUsage(organizationId, event.eventId, event.inputTokens);
    if (chance.chance(0.2)) await this.ask(request);
  }

  private async useHold(chance: Seeded): Promise<void> {
    const organizationId = this.organization(chance);
    const [holdId, estimatedTokens] = [v7(), chance.between(300, 600)];
    const held = await this.ask({ operation: 'holdTokens', path: { organizationId }, body: { holdId, estimatedTokens } });
    if (held?.status !== 201) return;
    const path = { organizationId, holdId };
    if (chance.chance(0.3)) {
      await this.ask({ operation: 'releaseHold', path });
      return;
    }
    const event = { eventId: this.name('settled'), model: 'm', inputTokens: chance.between(100, estimatedTokens) };
    const answer = await this.ask({ operation: 'settleHold', path, body: event });
    if (answer !== undefined && answer.status < 300) this.books.noteUsage(organizationId, event.eventId, event.inputTokens);
  }

  private async read(chance: Seeded): Promise<void> {
    const path = { organizationId: this.organization(chance) };
    for (const operation of ['getMe', 'getOrganization', 'getQuota', 'listMemberships']) await this.ask({ operation, path });
  }

  private async invite(chance: Seeded): Promise<void> {
    const email = `${this.name('invited')}@example.com`;
    const path = { organizationId: this.organization(chance) };
    const answer = await this.create('createInvitation', { email, role: 'member' }, path);
    if (answer?.status === 201) this.books.invitations.add(email);
  }

  private async signIn(chance: Seeded): Promise<void> {
    const { email } = chance.pick(this.people);
    const answer = await this.ask({ operation: 'signIn', headers: {}, body: { email, password: PASSWORD } });
    const token = answer?.headers.get('set-auth-token');
    if (token === null || token === undefined) return;
    const headers = { authorization: `Bearer ${token}` };
    if (chance.chance(0.5)) {
      this.books.liveSessions.add(token);
      return;
    }
    if ((await this.ask({ operation: 'signOut', headers })) === undefined) return;
    this.books.revokedSessions.add(token);
    const after = await this.ask({ operation: 'getMe', headers });
    if (after?.status === 200) this.books.revived.add(token);
  }

  private async useKey(chance: Seeded): Promise<void> {
    const path = { organizationId: this.organization(chance) };
    const answer = await this.create('createApiKey', { name: 'A key', scopes: ['usage:read'] }, path);
    if (answer?.status !== 201) return;
    const { id, key } = answer.body as { id: string; key: string };
    const owned = { key, organizationId: path.organizationId };
    if (chance.chance(0.5)) {
      this.books.liveKeys.set(key, owned.organizationId);
      return;
    }
    if ((await this.ask({ operation: 'revokeApiKey', path: { ...path, apiKeyId: id } })) === undefined) return;
    this.books.revokedKeys.set(key, owned.organizationId);
    const after = await this.ask({ operation: 'getQuota', path, headers: { 'x-api-key': key } });
    if (after?.status === 200) this.books.revived.add(key);
  }

  private async receiveClerkUser(chance: Seeded): Promise<void> {
    const id = this.name('user_faults');
    const [createdAt, updatedAt] = [Date.now() - 2000, Date.now() - 1000];
    const user = { id, createdAt, email: { email: `${id}@example.com`, verified: true } };
    const events = [
      clerkEvent('user.created', userData({ ...user, updatedAt: createdAt, firstName: 'Before' }), { timestamp: createdAt }),
      clerkEvent('user.updated', userData({ ...user, updatedAt, firstName: 'After' }), { timestamp: updatedAt }),
    ];
    const answers = await Promise.all(events.map(async (event) => this.deliver('clerk', newMessageId(), JSON.stringify(event), chance)));
    if (answers.every(Boolean)) this.books.clerkUsers.add(id);
  }

  private async buy(chance: Seeded): Promise<void> {
    const organizationId = await this.createOrganization();
    if (organizationId === undefined) return;
    // It does not use tokens, because its limit changes.
    this.users.splice(this.users.indexOf(organizationId), 1);
    const answer = await this.create('openCheckout', { tier: 'pro', provider: 'polar' }, { organizationId });
    if (answer?.status !== 201) return;
    this.books.checkouts += 1;
    const checkout = [...this.stage.polar.checkouts.values()].find(({ url }) => url === answer.body['url']);
    if (checkout === undefined || chance.chance(0.3)) return;
    this.stage.polar.completeCheckout(checkout.id);
    this.books.buyers.add(organizationId);
  }

  /** Delivers Polar's events in any order, until the traffic is over and none is left. */
  private async deliverPolar(): Promise<void> {
    const chance = new Seeded(`polar ${this.seed}`);
    const { events } = this.stage.polar;
    const deliveries: Promise<void>[] = [];
    // Products that existed before.
    for (const event of events) this.pumped.add(event);
    const deliverNew = () => {
      for (const event of events.filter((one) => !this.pumped.has(one))) {
        this.pumped.add(event);
        deliveries.push(this.deliverPolarEvent(event, chance));
      }
    };
    while (this.isRunning) {
      deliverNew();
      await sleep(100);
    }
    // Checkouts that were under way.
    await sleep(1000);
    deliverNew();
    await Promise.all(deliveries);
  }

  private async deliverPolarEvent(event: ProviderEvent, chance: Seeded): Promise<void> {
    const isTaken = await this.deliver('polar', event.messageId, bodyAt(event, new Date()), chance);
    if (isTaken) this.books.polarMessages.add(event.messageId);
  }

  /** Late, lost at first, or twice, at random. */
  private async deliver(provider: 'clerk' | 'polar', id: string, text: string, chance: Seeded): Promise<boolean> {
    const body: unknown = JSON.parse(text);
    const isDoubled = chance.chance(0.2);
    // A lost attempt is repeated later.
    if (chance.chance(0.3)) await sleep(chance.between(100, 2000));
    const send = async () =>
      this.ask({ operation: 'receiveWebhook', path: { provider }, body, headers: sign(JSON.stringify(body), { id, provider }) });
    const [answer] = await Promise.all([send(), ...(isDoubled ? [send()] : [])]);
    return answer?.status === 202;
  }
}
