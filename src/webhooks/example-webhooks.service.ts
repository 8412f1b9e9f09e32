import { randomBytes } from 'node:crypto';
import { parseArgs } from 'node:util';
import type { Config } from '../config/config.js';
import { EXAMPLES } from './clerk/clerk-examples.js';
import { signedHeaders } from './signature.js';

/** What whoever typed the command can mend. */
export class CannotSend extends Error {}

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
      positionals: [provider, type],
      values: { url, ...given },
    } = readParameters(config, parameters);
    const example = provider === 'clerk' && type !== undefined ? EXAMPLES[type] : undefined;
    if (type === undefined || example === undefined) throw new CannotSend(`Which event? clerk ${Object.keys(EXAMPLES).join(' | ')}`);
    const [key] = config.clerkWebhookKeys;
    if (key === undefined) throw new CannotSend('CLERK_WEBHOOK_SIGNING_SECRET is not set');

    const suffix = randomBytes(6).toString('hex');
    const names = { user: `user_${suffix}`, organization: `org_${suffix}`, email: `ada-${suffix}@example.com`, ...given };
    const id = `msg_${randomBytes(12).toString('hex')}`;
    const body = Buffer.from(JSON.stringify(this.eventOf(type, example(names, Date.now()))));
    const answer = await post(`${url}/webhooks/clerk`, body, signedHeaders(id, body, key));
    if (answer.status !== 202) throw new CannotSend(`${url} answers ${answer.status}: ${await answer.text()}`);
    return [
      `${type} is received as ${id}: ${await answer.text()}`,
      `It is about --user ${names.user} --organization ${names.organization} --email ${names.email}`,
      `See it as an operator: GET ${url}/v1/users?clerkUserId=${names.user} and GET ${url}/v1/webhook-events`,
    ].join('\n');
  }

  private eventOf(type: string, data: object): object {
    return {
      object: 'event',
      type,
      timestamp: Date.now(),
      instance_id: this.config.clerkInstanceId,
      event_attributes: { http_request: { client_ip: '203.0.113.7', user_agent: 'tenantry webhooks send' } },
      data,
    };
  }
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
