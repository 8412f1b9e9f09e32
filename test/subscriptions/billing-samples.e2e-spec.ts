import { DodoWebhooks } from '../../src/providers/dodo/dodo-webhooks.service.js';
import { PolarWebhooks } from '../../src/providers/polar/polar-webhooks.service.js';
import { BillingApp } from '../support/billing/billing-app.js';
import { newMessageId } from '../support/clerk/clerk-events.js';
import { dodoDispute, dodoEvent, dodoPayment, dodoRefund, dodoSubscription } from '../support/billing/dodo-events.js';
import { DODO_NOISE } from '../support/billing/dodo-noise.js';
import {
  brokenAt,
  processingOf,
  type Json,
  wronglyProcessed,
  type Path,
  pathsOf,
  type Sample,
  samplesIn,
} from '../support/payload-samples.js';
import { polarCheckout } from '../support/billing/polar-checkouts.js';
import {
  polarCustomer,
  polarCustomerState,
  polarEvent,
  polarOrder,
  polarRefund,
  polarSubscription,
} from '../support/billing/polar-events.js';
import { POLAR_NOISE } from '../support/billing/polar-noise.js';

const AT = '2026-03-01T00:00:00Z';
const LATER = '2026-04-01T00:00:00Z';

const customer = polarCustomer({ external_id: 'acme', metadata: { userId: 'ada' } });
// Every date is set.
const polar = polarSubscription({
  customer,
  metadata: { organizationId: 'acme' },
  status: 'past_due',
  trial_end: AT,
  canceled_at: AT,
  ends_at: LATER,
  ended_at: LATER,
  past_due_at: AT,
  seats: 3,
});
const order = polarOrder({}, polar);
const dodo = dodoSubscription({
  status: 'past_due',
  metadata: { organizationId: 'acme' },
  cancelled_at: AT,
  past_due_ends_at: LATER,
  trial_period_days: 14,
});
const payment = dodoPayment({}, dodo);

const PROVIDERS = {
  polar: {
    folder: 'polar',
    events: 42,
    provider: PolarWebhooks,
    event: (type: string, data: object) => polarEvent(type, data),
    noise: (type: string) => POLAR_NOISE[type]?.({ id: customer.id, at: AT, subscription: polar }),
    own: {
      subscription: polar,
      customer,
      'customer.state_changed': polarCustomerState(customer, [polar]),
      order,
      refund: polarRefund({}, order),
      checkout: polarCheckout(),
      product: polar.product,
    } as Record<string, object>,
    effects: ['subscription', 'customer', 'order', 'refund'],
    needed: ['data', 'data.customer_id', 'data.id', 'data.status', 'type'],
    /** Gives every id a suffix for its copy. */
    mark: (body: string, copy: number) =>
      body.replaceAll(/"([0-9a-f]{8}-(?:[0-9a-f]{4}-){3})[0-9a-f]{12}"/g, `"$1${copy.toString(16).padStart(12, '0')}"`),
  },
  dodo: {
    folder: 'dodopayments',
    events: 48,
    provider: DodoWebhooks,
    event: (type: string, data: object) => dodoEvent(type, data),
    noise: (type: string) => DODO_NOISE[type]?.({ id: 'sampleSampleSampleSam', at: AT, subscription: dodo }),
    own: {
      subscription: dodo,
      payment,
      refund: dodoRefund({}, payment),
      dispute: dodoDispute({}, payment),
      dunning: { customer_id: dodo.customer.customer_id, subscription_id: dodo.subscription_id, status: 'recovering', created_at: AT },
    } as Record<string, object>,
    effects: ['subscription', 'payment', 'refund', 'dispute'],
    needed: [
      'data',
      'data.customer',
      'data.customer.customer_id',
      ...['dispute', 'payment', 'refund', 'subscription'].map((noun) => `data.${noun}_id`),
      'data.status',
      'type',
    ],
    mark: (body: string, copy: number) => body.replaceAll(/"((?:sub|cus|pay|ref|dp)_[^"]*)"/g, `"$1_${copy}"`),
  },
};

describe.each(Object.entries(PROVIDERS))(
  'payloads of %s',
  (name, { folder, events, provider, event, noise, own, effects, needed, mark }) => {
    let billing: BillingApp;
    let samples: Sample[];
    let copies = 0;
    beforeAll(async () => {
      billing = await BillingApp.start();
      const ownSamples = [...billing.t.app.get<DodoWebhooks | PolarWebhooks>(provider).types].map((type): Sample => {
        const data = noise(type) ?? own[type] ?? own[nounOf(type)];
        if (data === undefined) throw new Error(`There is no sample of ${type}`);
        return [type, JSON.parse(JSON.stringify(event(type, data))) as Json];
      });
      samples = [...ownSamples, ...samplesIn(folder)];
    });
    afterAll(() => billing.close());

    const nounOf = (type: string) => type.split('.')[0]!;
    const hasEffect = (type: string) => effects.includes(nounOf(type)) && type !== 'customer.state_changed';
    const typeOf = ([, payload]: Sample) => (payload as { type: string }).type;

    /** Gives each sample its own objects, so that a deletion in one does not affect the next. */
    function message([what, payload]: Sample) {
      copies += 1;
      return { name: what, messageId: newMessageId(), provider: name as 'polar' | 'dodo', body: mark(JSON.stringify(payload), copies) };
    }

    it('are accepted, even where they break their published schema', async () => {
      expect(new Set(samples.map(typeOf)).size).toBe(events);
      const ends = await processingOf(billing.t, samples.map(message));
      const wanted = samples.map((sample) => ({ status: hasEffect(typeOf(sample)) ? 'processed' : 'ignored', error: null }));
      expect(ends).toEqual(wanted.map((one) => expect.objectContaining(one)));
    });

    it('are applied, ignored or quarantined, and never retried, when any one field is missing or null', async () => {
      // Each shape is tried once, and ignored types only in their top-level fields.
      const tried = new Set<string>();
      const broken = samples.flatMap((sample) => {
        const type = typeOf(sample);
        const isNew = (at: Path) => {
          const place = `${hasEffect(type) ? nounOf(type) : 'other'} ${at.join('.')}`;
          return !tried.has(place) && tried.add(place);
        };
        return brokenAt(
          sample,
          pathsOf(sample[1]).filter((at) => (hasEffect(type) || at.length === 1) && isNew(at)),
        );
      });
      const ends = await processingOf(billing.t, broken.map(message));
      expect(ends.length).toBeGreaterThan(200);
      expect(wronglyProcessed(ends)).toEqual([]);
      // Only the type, the id, the customer and the status are required.
      const quarantined = new Set(ends.filter(({ status }) => status === 'quarantined').map((end) => end.name.replace(/^.* at /, '')));
      expect([...quarantined].toSorted()).toEqual(needed.toSorted());
    });
  },
);
