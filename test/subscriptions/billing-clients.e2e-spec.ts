import type { BillingProvider } from '../../src/subscriptions/sync/billing-provider.port.js';
import type { BillingHttpClient } from '../../src/providers/billing-http.client.js';
import { DodoAccount } from '../simulators/dodo-account.js';
import { startDodoApiSimulator } from '../simulators/dodo-api.js';
import { PolarAccount } from '../simulators/polar-account.js';
import { startPolarApiSimulator } from '../simulators/polar-api.js';
import type { Fault } from '../simulators/simulated-api.js';
import { VirtualClock } from '../simulators/virtual-time.js';
import { dodoClient, dodoEnvironment, polarClient, polarEnvironment, withoutPauses } from '../support/billing/billing-clients.js';

interface Simulated {
  client: BillingProvider & { calls: BillingHttpClient };
  /** A client with a wrong key. */
  withWrongKey: () => BillingProvider;
  unconfigured: BillingProvider;
  subscriptionId: string;
  calls: string[];
  faults: Fault[];
  control: { onCall?: (call: string) => void | Promise<void>; rateLimit?: { requests: number; seconds: number } };
  close: () => Promise<void>;
}

async function polar(): Promise<Simulated> {
  const account = new PolarAccount({ clock: new VirtualClock() });
  const api = await startPolarApiSimulator({ account });
  const { id: subscriptionId } = account.subscribe({ productId: account.createProduct().id });
  return {
    ...api,
    subscriptionId,
    client: polarClient(polarEnvironment(api)),
    withWrongKey: () => polarClient(polarEnvironment({ ...api, accessToken: 'polar_oat_secret' })),
    unconfigured: polarClient({}),
  };
}

async function dodo(): Promise<Simulated> {
  const account = new DodoAccount({ clock: new VirtualClock() });
  const api = await startDodoApiSimulator({ account });
  const { subscription_id: subscriptionId } = account.subscribe({ productId: account.createProduct().product_id });
  return {
    ...api,
    subscriptionId,
    client: dodoClient(dodoEnvironment(api)),
    withWrongKey: () => dodoClient(dodoEnvironment({ ...api, apiKey: 'dodo_secret' })),
    unconfigured: dodoClient({}),
  };
}

describe.each([
  { name: 'polar', start: polar, failure: 'SimulatedFailure', wrongKey: 'invalid_token', setting: 'POLAR_ACCESS_TOKEN' },
  { name: 'dodo', start: dodo, failure: 'SIMULATED_FAILURE', wrongKey: 'UNAUTHORIZED', setting: 'DODO_PAYMENTS_API_KEY' },
])('the client of $name', ({ name, start, failure, wrongKey, setting }) => {
  let api: Simulated;
  let pauses: number[];
  const find = (signal?: AbortSignal) => api.client.findSubscription(api.subscriptionId, signal);
  const push = (fault: Fault, times = 1) => api.faults.push(...Array.from({ length: times }, () => fault));

  beforeEach(async () => {
    api = await start();
    pauses = withoutPauses(api.client);
  });
  afterEach(() => api.close());

  it('retries after the pause that the provider asks for, at most a minute', async () => {
    push({ status: 429, retryAfter: 7 });
    push({ status: 429, retryAfter: 3600 });
    expect(await find()).toMatchObject({ id: api.subscriptionId });
    expect(pauses).toEqual([7000, 60_000]);
  });

  it('calls at most ten times while the provider answers 429, and reports when to retry', async () => {
    push({ status: 429, retryAfter: 9 }, 20);
    await expect(find()).rejects.toMatchObject({ provider: name, isRetryable: true, status: 429, retryAfterSeconds: 9 });
    expect(api.calls).toHaveLength(10);
  });

  it('retries after a 500, a cut connection and a time-out', async () => {
    api.client.calls.limits.timeoutMs = 2000;
    push({ status: 500 });
    push('cut');
    push('hang');
    expect(await find()).toMatchObject({ id: api.subscriptionId });
    expect(api.calls).toHaveLength(4);
    expect(pauses).toHaveLength(3);
  });

  it('gives up after four failures, with the provider’s message', async () => {
    push({ status: 503 }, 5);
    await expect(find()).rejects.toMatchObject({
      message: `${name} could not read a subscription: 503, ${failure} (Simulated failure)`,
      isRetryable: true,
      status: 503,
    });
    expect(api.calls).toHaveLength(4);
  });

  it('gives up after four time-outs', async () => {
    api.client.calls.limits.timeoutMs = 20;
    push('hang', 4);
    await expect(find()).rejects.toMatchObject({
      message: `${name} could not read a subscription: no response within 20 ms`,
      isRetryable: true,
    });
  });

  it('gives up when nothing listens', async () => {
    await api.close();
    await expect(api.client.listSubscriptions(undefined)).rejects.toMatchObject({
      message: `${name} could not list subscriptions: no response`,
      isRetryable: true,
    });
    expect(pauses).toHaveLength(3);
  });

  it('does not retry a refused request', async () => {
    push({ status: 400 });
    await expect(find()).rejects.toMatchObject({ isRetryable: false, status: 400 });
    expect(api.calls).toHaveLength(1);
  });

  it('makes a change with one call, because its caller retries', async () => {
    push({ status: 503 });
    await expect(api.client.cancelSubscription(api.subscriptionId)).rejects.toMatchObject({ isRetryable: true, status: 503 });
    expect(api.calls).toHaveLength(1);
  });

  it.each([
    ['an HTML page', { status: 200, body: '<html>Welcome</html>', contentType: 'text/html' }, 'the response is not a JSON object'],
    ['an empty body', { status: 200, body: '' }, 'the response has no'],
    ['JSON of another shape', { status: 200, body: '{"ok":true}' }, 'the response has no'],
    ['the JSON null', { status: 200, body: 'null' }, 'the response is not a JSON object'],
  ])('fails on %s, instead of reporting that the object does not exist', async (_what, fault, why) => {
    push(fault, 2);
    await expect(api.client.listSubscriptions(undefined)).rejects.toThrow(why);
    await expect(find()).rejects.toThrow(why);
  });

  it.each([
    ['text', { status: 404, body: 'Not found', contentType: 'text/plain' }],
    ['JSON', { status: 404, body: '{"status":404,"error":"Not Found","path":"/"}' }],
  ])('fails on a 404 in %s that does not come from the API', async (_what, fault) => {
    push(fault);
    await expect(find()).rejects.toMatchObject({ message: `${name} could not read a subscription: 404`, isRetryable: false });
  });

  it('stops without another call when the signal aborts', async () => {
    const stopping = new AbortController();
    push('hang');
    api.control.onCall = () => stopping.abort(new Error('enough'));
    await expect(find(stopping.signal)).rejects.toThrow('enough');
    await expect(find(stopping.signal)).rejects.toThrow('enough');
    expect(api.calls).toHaveLength(1);
  });

  it('stops during a pause', async () => {
    const stopping = new AbortController();
    Object.assign(api.client.calls.limits, { longestPauseMs: 600_000, pause: (await import('node:timers/promises')).setTimeout });
    push({ status: 429, retryAfter: 600 });
    const finding = find(stopping.signal);
    api.control.onCall = () => void setImmediate(() => stopping.abort(new Error('enough')));
    await expect(finding).rejects.toThrow();
    expect(api.calls).toHaveLength(1);
  });

  it('fails at once on a wrong key, without showing the key', async () => {
    const error: unknown = await api
      .withWrongKey()
      .findSubscription(api.subscriptionId)
      .catch((failed: unknown) => failed);
    expect(String(error)).toContain(`401, ${wrongKey}`);
    expect(JSON.stringify(error, Object.getOwnPropertyNames(error))).not.toContain('_secret');
    expect(api.calls).toHaveLength(1);
  });

  it('makes no call without a key', async () => {
    expect(api.client.isConfigured).toBe(true);
    expect(api.unconfigured.isConfigured).toBe(false);
    await expect(api.unconfigured.findSubscription('1')).rejects.toMatchObject({
      message: expect.stringContaining(`${setting} is not set`),
      isRetryable: false,
    });
  });
});
