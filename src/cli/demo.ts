import { randomBytes } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';
import type { INestApplicationContext } from '@nestjs/common';
import { SYSTEM } from '../access/principal.js';
import { AuthService } from '../auth/auth.service.js';
import { DemoAccounts } from '../auth/demo-accounts.service.js';
import { Config } from '../platform/config/config.js';
import { DATA_DIRECTORY, writePrivateFile } from '../platform/config/local-environment.js';
import { DATABASE, type Database } from '../platform/database/database.js';
import { MembershipsService } from '../memberships/memberships.service.js';
import { OrganizationsService } from '../organizations/organizations.service.js';
import { UsageService } from '../usage/usage.service.js';
import { UsersService } from '../users/users.service.js';
import { ExampleWebhooksService, exampleIdsOf } from '../providers/example-webhooks.service.js';
import { WebhooksService } from '../webhooks/webhooks.service.js';
import { Clock } from '../platform/time/clock.service.js';
import { HOUR_MS } from '../platform/time/durations.js';

const FILE = path.join(DATA_DIRECTORY, 'demo.json');

const OPERATOR_EMAIL = 'operator@demo.test';

const PEOPLE = [
  { email: OPERATOR_EMAIL, name: 'Olivia Operator', operator: true },
  { email: 'ada@demo.test', name: 'Ada Admin', operator: false },
  { email: 'max@demo.test', name: 'Max Member', operator: false },
];

interface Person {
  email: string;
  password: string;
}

export interface Demo {
  people: Person[];
  /** A new bearer token of the operator. Absent if the operator has changed the password or is suspended. */
  token?: string;
}

/** Creates the demo users and their organization with random passwords, and keeps the passwords under `.data/` for later starts. */
export async function seedDemo(app: INestApplicationContext): Promise<Demo> {
  const auth = app.get(AuthService);
  const accounts = app.get(DemoAccounts);
  const users = app.get(UsersService);
  const saved = readPasswords();
  const people: Person[] = [];
  for (const { email, name, operator } of PEOPLE) {
    const existing = await users.findByEmail(email);
    const known = saved.find((person) => person.email === email);
    if (existing !== undefined && known !== undefined) {
      people.push(known);
      continue;
    }
    const password = randomBytes(12).toString('base64url');
    // The user exists, but the file with the password is lost.
    if (existing !== undefined) await accounts.replacePassword(existing.id, password);
    else {
      const { id } = await accounts.createUser({ email, name, password });
      if (operator) await users.setOperator(id, true);
    }
    people.push({ email, password });
  }
  writePrivateFile(FILE, people);
  await seedOrganization(app);
  const operator = people.find(({ email }) => email === OPERATOR_EMAIL)!;
  return { people, token: await auth.signIn(operator.email, operator.password) };
}

/** Ada's organization, with Max as a member. Skipped if Ada has an organization. */
async function seedOrganization(app: INestApplicationContext): Promise<void> {
  const users = app.get(UsersService);
  const organizations = app.get(OrganizationsService);
  const memberships = app.get(MembershipsService);
  const [ada, max] = await Promise.all([users.findByEmail('ada@demo.test'), users.findByEmail('max@demo.test')]);
  if (ada === undefined || max === undefined || (await organizations.listOfUser(ada.id, { limit: 1 })).data.length > 0) return;
  const organizationId = await app.get<Database>(DATABASE).transaction(async (tx) => {
    const { id } = await organizations.create({ userId: ada.id, actor: SYSTEM }, { name: 'Demo Inc.' }, tx);
    await memberships.add({ organizationId: id, userId: max.id, role: 'member' }, tx);
    return id;
  });
  await seedSubscription(app, organizationId);
  await seedUsage(app, organizationId, [ada.id, max.id]);
}

/** Delivers the signed events of a purchase to the inbox. */
async function seedSubscription(app: INestApplicationContext, organization: string): Promise<void> {
  const webhooks = app.get(WebhooksService);
  const examples = new ExampleWebhooksService(app.get(Config), app.get(Clock));
  const ids = exampleIdsOf('polar', { organization, email: 'ada@demo.test' });
  const messages = ['subscription.active', 'order.paid'].map((type) => examples.messageOf('polar', type, ids));
  for (const { headers, body } of messages) await webhooks.receive('polar', headers, body);
}

/** Three weeks of usage, a few events a day, as an application would record them with an API key. */
async function seedUsage(app: INestApplicationContext, organizationId: string, people: string[]): Promise<void> {
  const now = app.get(Clock).now().getTime();
  const models = ['gpt-5-mini', 'claude-sonnet-4-5', 'gpt-5'];
  const events = Array.from({ length: 60 }, (_, index) => ({
    eventId: `demo-${index + 1}`,
    userId: people[index % people.length],
    model: models[index % models.length],
    inputTokens: 400 + ((index * 137) % 500),
    outputTokens: 100 + ((index * 61) % 200),
    cachedInputTokens: (index % 4) * 100,
    occurredAt: new Date(now - index * 8 * HOUR_MS).toISOString(),
  }));
  const owner = { kind: 'organization' as const, id: organizationId };
  await app.get(UsageService).recordBatch({ owner, userId: null, mayRecordFor: 'members' }, { events });
}

function readPasswords(): Person[] {
  return existsSync(FILE) ? (JSON.parse(readFileSync(FILE, 'utf8')) as Person[]) : [];
}
