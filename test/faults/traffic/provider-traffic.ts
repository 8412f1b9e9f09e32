import { setTimeout as sleep } from 'node:timers/promises';
import { v7 } from 'uuid';
import { bodyAt, type ProviderEvent } from '../../simulators/provider-event.js';
import { Seeded } from '../../simulators/seeded.js';
import { clerkEvent, newMessageId, sessionData, sign, userData } from '../../support/clerk/clerk-events.js';
import type { Providers } from '../stage/providers.js';
import type { Books } from './books.js';
import type { Client, Request, Response } from './client.js';

type BillingProvider = 'polar' | 'dodo';

export interface Callers {
  admin: Record<string, string>;
  operator: Record<string, string>;
}

/** What the providers do, and what people do that needs them. */
export class ProviderTraffic {
  private readonly chance: Seeded;
  private readonly known = new Set<ProviderEvent>();
  private undeliveredCount = 0;
  private readonly timer: NodeJS.Timeout;
  private users = 0;

  constructor(
    private readonly providers: Providers,
    private readonly client: Client,
    private readonly books: Books,
    private readonly callers: Callers,
    seed: string,
  ) {
    this.chance = new Seeded(`billing ${seed}`);
    // Products that existed before.
    for (const { events } of [providers.polar, providers.dodo]) for (const event of events) this.known.add(event);
    this.timer = setInterval(() => this.deliverNew(), 100).unref();
  }

  get undelivered(): number {
    this.deliverNew();
    return this.undeliveredCount;
  }

  close(): void {
    clearInterval(this.timer);
  }

  /** Compares everything with the providers, and repairs what differs. */
  async reconcile(): Promise<void> {
    for (const job of ['reconcile_billing', 'reconcile_clerk', 'confirm_subscriptions'])
      await this.ask({ operation: 'runJob', path: { job }, headers: this.callers.operator });
  }

  async receiveClerkUser(chance: Seeded): Promise<void> {
    this.users += 1;
    const id = `user_faults_${this.users}`;
    const [createdAt, updatedAt] = [Date.now() - 2000, Date.now() - 1000];
    const user = { id, createdAt, email: { email: `${id}@example.com`, verified: true } };
    const after = userData({ ...user, updatedAt, firstName: 'After' });
    this.providers.clerk.users.set(id, { ...after, id, created_at: createdAt });
    const events = [
      clerkEvent('user.created', userData({ ...user, updatedAt: createdAt, firstName: 'Before' }), { timestamp: createdAt }),
      clerkEvent('user.updated', after, { timestamp: updatedAt }),
    ];
    const answers = await Promise.all(events.map(async (event) => this.deliver('clerk', newMessageId(), JSON.stringify(event), chance)));
    if (!answers.every(Boolean)) return;
    this.books.clerkUsers.add(id);
    if (chance.chance(0.3)) await this.endClerkSession(id, chance);
  }

  async buy(chance: Seeded, organizationId: string | undefined): Promise<void> {
    if (organizationId === undefined) return;
    const provider = chance.pick(['polar', 'dodo'] as const);
    const headers = { ...this.callers.admin, 'idempotency-key': v7() };
    const answer = await this.ask({ operation: 'openCheckout', path: { organizationId }, headers, body: { tier: 'pro', provider } });
    if (answer?.status !== 201) return;
    this.books.checkouts += 1;
    if (chance.chance(0.3)) return;
    this.pay(provider, String(answer.body['url']));
    this.books.buyers.add(organizationId);
    if (chance.chance(0.5)) await this.deleteBuyer(organizationId);
  }

  private pay(provider: BillingProvider, url: string): void {
    if (provider === 'dodo') this.providers.dodo.completeCheckout(url.split('/').at(-1)!);
    else this.providers.polar.completeCheckout([...this.providers.polar.checkouts.values()].find((one) => one.url === url)!.id);
  }

  /** Once its subscription has arrived, which ends with it. */
  private async deleteBuyer(organizationId: string): Promise<void> {
    const request = { path: { organizationId }, headers: this.callers.admin };
    const isActive = await this.wait(async () => (await this.ask({ operation: 'getSubscription', ...request }))?.body['tier'] === 'pro');
    if (!isActive) return;
    const answer = await this.ask({ operation: 'deleteOrganization', ...request, query: { cancelSubscription: 'true' } });
    // 404 if the response of an earlier attempt was lost.
    if (answer?.status !== 204 && answer?.status !== 404) return;
    this.books.buyers.delete(organizationId);
    this.books.deletedBuyers.add(organizationId);
  }

  private async endClerkSession(userId: string, chance: Seeded): Promise<void> {
    const session = sessionData({ id: `sess_of_${userId}`, userId, createdAt: Date.now() });
    const id = String(session['id']);
    this.providers.clerk.sessions.set(id, { ...session, id, created_at: Date.now(), status: 'active' });
    await this.deliver('clerk', newMessageId(), JSON.stringify(clerkEvent('session.created', session)), chance);
    const headers = this.callers.operator;
    const listed = async (request: Omit<Request, 'headers'>) =>
      ((await this.ask({ ...request, headers }))?.body['data'] ?? []) as { id: string }[];
    const user = await this.wait(async () => (await listed({ operation: 'listUsers', query: { clerkUserId: userId } }))[0]);
    if (user === undefined) return;
    const path = { userId: user.id };
    if (!(await this.wait(async () => (await listed({ operation: 'listUserSessions', path })).length === 1))) return;
    const answer = await this.ask({ operation: 'revokeUserSessions', path, headers });
    if (answer !== undefined && answer.status < 300) this.books.endedClerkSessions.add(id);
  }

  /** Polls until it is there; undefined if the run ended before. */
  private async wait<T>(find: () => Promise<T>): Promise<T | undefined> {
    while (!this.client.isOver) {
      const found = await find();
      if (found !== undefined && found !== false) return found;
      await sleep(500);
    }
    return undefined;
  }

  private async ask(request: Request): Promise<Response | undefined> {
    return this.client.untilAnswered(request);
  }

  /** In any order. */
  private deliverNew(): void {
    for (const provider of ['polar', 'dodo'] as const)
      for (const event of this.providers[provider].events.filter((one) => !this.known.has(one))) {
        this.known.add(event);
        void this.deliverEvent(provider, event);
      }
  }

  private async deliverEvent(provider: BillingProvider, event: ProviderEvent): Promise<void> {
    this.undeliveredCount += 1;
    const isTaken = await this.deliver(provider, event.messageId, bodyAt(event, new Date()), this.chance);
    if (isTaken) this.books.messages[provider].add(event.messageId);
    this.undeliveredCount -= 1;
  }

  /** Late, lost at first, or twice, at random. */
  private async deliver(provider: 'clerk' | BillingProvider, id: string, text: string, chance: Seeded): Promise<boolean> {
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
