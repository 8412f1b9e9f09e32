import { type KeyObject, randomBytes, randomUUID } from 'node:crypto';
import type { Config } from '../platform/config/config.js';
import { EXAMPLE_PRODUCTS } from '../platform/config/local-environment.js';
import { CLERK_EXAMPLES as CLERK } from './clerk/clerk-examples.js';
import { DODO_EXAMPLES as DODO } from './dodo/dodo-examples.js';
import { POLAR_EXAMPLES as POLAR } from './polar/polar-examples.js';
import type { ExampleNames, Examples } from './examples.js';
import { signedHeaders } from '../platform/crypto/webhook-signature.js';
import { Clock } from '../platform/time/clock.service.js';

/** A mistake that the caller of the command can correct. */
export class CannotSend extends Error {}

/** The subject of the event, and the base URL of the server that receives it. */
export interface ExampleTarget extends Partial<ExampleNames> {
  url?: string;
}

/** A signed event. */
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

export const EXAMPLE_PROVIDERS = Object.keys(PROVIDERS);

/** Signs an example event with the configured secret, as the provider would, and posts it to the running server. */
export class ExampleWebhooksService {
  constructor(
    private readonly config: Config,
    private readonly clock: Clock,
  ) {}

  /** @throws {CannotSend} */
  async send(provider: string, type: string, { url = this.config.publicUrl, ...given }: ExampleTarget): Promise<string> {
    if (this.config.isProduction) throw new CannotSend('Example events are not available in production.');
    const ids = exampleIdsOf(provider, given);
    const { id, body, headers } = this.messageOf(provider, type, ids);
    const response = await post(`${url}/webhooks/${provider}`, body, headers);
    if (response.status !== 202) throw new CannotSend(`${url} responded with ${response.status}: ${await response.text()}`);
    const options = Object.entries(ids).map(([name, value]) => `--${name} ${value}`);
    const list = provider === 'clerk' ? `/v1/users?clerkUserId=${ids.user}` : `/v1/subscriptions?provider=${provider}`;
    return [
      `The server received ${type} as ${id}: ${await response.text()}`,
      `Send events about the same things with ${options.join(' ')}`,
      `See the effect as an operator: GET ${url}${list} and GET ${url}/v1/webhook-events`,
    ].join('\n');
  }

  /** @throws {CannotSend} */
  messageOf(provider: string, type: string, ids: ExampleNames): ExampleMessage {
    const { examples, key: keyOf, secret, envelope } = PROVIDERS[provider] ?? {};
    const example = examples?.[type];
    if (keyOf === undefined || envelope === undefined || example === undefined)
      throw new CannotSend(`There is no example event ${type} of ${provider}. Known events: ${known()}`);
    const key = keyOf(this.config);
    if (key === undefined) throw new CannotSend(`${secret} is not set.`);
    const now = this.clock.now();
    const id = provider === 'polar' ? randomUUID() : `msg_${randomBytes(12).toString('hex')}`;
    const body = Buffer.from(JSON.stringify({ ...envelope(this.config, now), type, data: example(ids, now.getTime()) }));
    return { id, body, headers: signedHeaders(id, body, key, now) };
  }
}

/** Completes the given ids with random ones. */
export function exampleIdsOf(provider: string, given: Partial<ExampleNames> = {}): ExampleNames {
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

async function post(url: string, body: Buffer<ArrayBuffer>, headers: Record<string, string>): Promise<Response> {
  try {
    return await fetch(url, { method: 'POST', body, headers: { 'content-type': 'application/json', ...headers } });
  } catch (error) {
    throw new CannotSend(`No server answers at ${url}. Is it running?`, { cause: error });
  }
}
