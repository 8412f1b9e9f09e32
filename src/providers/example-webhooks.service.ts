import { type KeyObject, randomBytes, randomUUID } from 'node:crypto';
import { parseArgs } from 'node:util';
import type { Config } from '../platform/config/config.js';
import { EXAMPLE_PRODUCTS } from '../platform/config/local-environment.js';
import { CLERK_EXAMPLES as CLERK } from './clerk/clerk-examples.js';
import { DODO_EXAMPLES as DODO } from './dodo/dodo-examples.js';
import { POLAR_EXAMPLES as POLAR } from './polar/polar-examples.js';
import type { ExampleNames, Examples } from './examples.js';
import { signedHeaders } from '../platform/crypto/webhook-signature.js';

/** What whoever typed the command can mend. */
export class CannotSend extends Error {}

/** An event that is signed, and may be posted or handed in. */
export interface ExampleMessage {
  id: string;
  body: Buffer<ArrayBuffer>;
  headers: Record<string, string>;
}

interface ExampleProvider {
  examples: Examples;
  key: (config: Config) => KeyObject | undefined;
  secret: string;
  envelope: (config: Config, now: Date) => object;
}

const PROVIDERS: Record<string, ExampleProvider> = {
  clerk: {
    examples: CLERK,
    key: ({ clerkWebhookKeys }) => clerkWebhookKeys[0],
    secret: 'CLERK_WEBHOOK_SIGNING_SECRET',
    envelope: ({ clerkInstanceId }, now) => ({
      object: 'event',
      timestamp: now.getTime(),
      instance_id: clerkInstanceId,
      event_attributes: { http_request: { client_ip: '203.0.113.7', user_agent: 'tenantry webhooks send' } },
    }),
  },
  polar: {
    examples: POLAR,
    key: ({ polarWebhookKeys }) => polarWebhookKeys[0],
    secret: 'POLAR_WEBHOOK_SECRET',
    envelope: (_, now) => ({ timestamp: now.toISOString() }),
  },
  dodo: {
    examples: DODO,
    key: ({ dodoWebhookKeys }) => dodoWebhookKeys[0],
    secret: 'DODO_PAYMENTS_WEBHOOK_KEY',
    envelope: (_, now) => ({ business_id: 'bus_example', timestamp: now.toISOString() }),
  },
};

/** Plays the provider: signs an example event with the configured secret and posts it to the running server. */
export class ExampleWebhooksService {
  constructor(private readonly config: Config) {}

  /**
   * @param parameters of the command line: provider, type, and whom the event is about
   * @returns what to tell whoever asked
   * @throws {CannotSend}
   */
  async send(parameters: string[]): Promise<string> {
    const { config } = this;
    if (config.isProduction) throw new CannotSend('Made-up events are not for production');
    const {
      positionals: [provider = '', type = ''],
      values: { url, ...given },
    } = readParameters(config, parameters);
    const names = exampleNamesOf(provider, given);
    const { id, body, headers } = this.messageOf(provider, type, names);
    const answer = await post(`${url}/webhooks/${provider}`, body, headers);
    if (answer.status !== 202) throw new CannotSend(`${url} answers ${answer.status}: ${await answer.text()}`);
    const about = Object.entries(names).map(([name, value]) => `--${name} ${value}`);
    return [
      `${type} is received as ${id}: ${await answer.text()}`,
      `It is about ${about.join(' ')}`,
      provider === 'clerk'
        ? `See it as an operator: GET ${url}/v1/users?clerkUserId=${names.user} and GET ${url}/v1/webhook-events`
        : `See it as an operator: GET ${url}/v1/subscriptions?provider=${provider} and GET ${url}/v1/webhook-events`,
    ].join('\n');
  }

  /** @throws {CannotSend} */
  messageOf(provider: string, type: string, names: ExampleNames): ExampleMessage {
    const { examples, key: keyOf, secret, envelope } = PROVIDERS[provider] ?? {};
    const example = examples?.[type];
    if (keyOf === undefined || envelope === undefined || example === undefined) throw new CannotSend(`Which event? ${known()}`);
    const key = keyOf(this.config);
    if (key === undefined) throw new CannotSend(`${secret} is not set`);
    const now = new Date();
    const id = provider === 'polar' ? randomUUID() : `msg_${randomBytes(12).toString('hex')}`;
    const body = Buffer.from(JSON.stringify({ ...envelope(this.config, now), type, data: example(names, now.getTime()) }));
    return { id, body, headers: signedHeaders(id, body, key) };
  }
}

/** Those that were given, and others that nobody has. */
export function exampleNamesOf(provider: string, given: Partial<ExampleNames> = {}): ExampleNames {
  const suffix = randomBytes(6).toString('hex');
  return {
    user: `user_${suffix}`,
    organization: `org_${suffix}`,
    email: `ada-${suffix}@example.com`,
    product: provider === 'dodo' ? EXAMPLE_PRODUCTS.dodo : EXAMPLE_PRODUCTS.polar,
    subscription: `sub_${suffix}`,
    ...given,
  };
}

function known(): string {
  return Object.entries(PROVIDERS)
    .map(([provider, { examples }]) => `${provider} ${Object.keys(examples).join(' | ')}`)
    .join('; ');
}

function readParameters(config: Config, parameters: string[]) {
  try {
    return parseArgs({
      args: parameters,
      allowPositionals: true,
      options: {
        user: { type: 'string' },
        organization: { type: 'string' },
        email: { type: 'string' },
        product: { type: 'string' },
        subscription: { type: 'string' },
        url: { type: 'string', default: config.publicUrl },
      },
    });
  } catch (error) {
    throw new CannotSend((error as Error).message);
  }
}

async function post(url: string, body: Buffer<ArrayBuffer>, headers: Record<string, string>): Promise<Response> {
  try {
    return await fetch(url, { method: 'POST', body, headers: { 'content-type': 'application/json', ...headers } });
  } catch (error) {
    throw new CannotSend(`Nobody answers at ${url}: is the server running?`, { cause: error });
  }
}
