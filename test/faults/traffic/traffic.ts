import { setTimeout as sleep } from 'node:timers/promises';
import { v7 } from 'uuid';
import { Seeded } from '../../simulators/seeded.js';
import { PASSWORD } from '../../support/people.js';
import type { Books } from './books.js';
import type { Client, Request, Response } from './client.js';
import type { ProviderTraffic } from './provider-traffic.js';

const CALLERS = 6;
const PAUSE_MS = 150;
/** Until every request is answered after the last fault. */
const PATIENCE_MS = 120_000;
/** Longer than any request takes, and shorter than the difference of two clocks. */
const HOLD_SECONDS = 300;

export interface Person {
  email: string;
  headers: Record<string, string>;
}

/** What people and programs do, beside the providers, each action to its end: a request is repeated until it is answered. */
export class Traffic {
  private isRunning = true;
  /** Organizations that use tokens up to their limit, the newest last. */
  private readonly users: string[] = [];
  private count = 0;

  constructor(
    private readonly client: Client,
    private readonly books: Books,
    private readonly people: Person[],
    private readonly providers: ProviderTraffic,
    private readonly seed: string,
  ) {}

  private readonly actions: [weight: number, action: (chance: Seeded) => Promise<unknown>][] = [
    [8, async (chance) => this.recordUsage(chance)],
    [3, async (chance) => this.useHold(chance)],
    [3, async (chance) => this.read(chance)],
    [2, async (chance) => this.invite(chance)],
    [2, async (chance) => this.providers.receiveClerkUser(chance)],
    [2, async (chance) => this.useKey(chance)],
    [1, async () => this.addUser()],
    [1, async (chance) => this.signIn(chance)],
    [1, async (chance) => this.providers.buy(chance, await this.createOrganization())],
  ];

  /** Runs until `stop`. */
  async run(): Promise<void> {
    await this.addUser();
    const choices = this.actions.flatMap(([weight, action]) => Array.from({ length: weight }, () => action));
    const caller = async (number: number) => {
      const chance = new Seeded(`traffic ${this.seed} ${number}`);
      while (this.isRunning) {
        await chance.pick(choices)(chance);
        await sleep(PAUSE_MS);
      }
    };
    await Promise.all(Array.from({ length: CALLERS }, (_, number) => caller(number)));
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
    return id;
  }

  /** An organization that uses tokens. */
  private async addUser(): Promise<void> {
    const id = await this.createOrganization();
    if (id !== undefined) this.users.push(id);
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
    const held = await this.ask({
      operation: 'holdTokens',
      path: { organizationId },
      body: { holdId, estimatedTokens, expiresInSeconds: HOLD_SECONDS },
    });
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
}
