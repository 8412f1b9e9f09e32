import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { ConfigError } from '../platform/config/config.js';
import { planMistakes } from './plan-file.js';
import type { PlanLimits } from './plans.js';
import { PlansService } from './plans.service.js';

const FREE: PlanLimits = {
  tokensPerPeriod: 1000,
  tokenLimit: 'hard',
  requestsPerMinute: 60,
  tokensPerMinute: null,
  seats: 5,
  perSeat: false,
  features: [],
};
const PLANS = {
  free: { name: 'Free', description: '', limits: FREE },
  pro: { name: 'Pro', description: 'For teams.', limits: { ...FREE, features: ['audit_log'] } },
  business: { name: 'Business', description: 'For companies.', limits: { ...FREE, seats: null, features: ['audit_log', 'sso'] } },
};

let directory: string;
let file: string;
beforeAll(() => {
  directory = mkdtempSync(path.join(tmpdir(), 'tenantry-plans-'));
  file = path.join(directory, 'plans.json');
});
afterAll(() => rmSync(directory, { recursive: true, force: true }));

/** What the check says, without the file's name before the place. */
function mistakesOf(content: unknown, billingProducts: string[] = []): string[] {
  writeFileSync(file, typeof content === 'string' ? content : JSON.stringify(content));
  return planMistakes({ plansFile: file, billingProducts }).map((mistake) => mistake.replaceAll(file, 'file'));
}

function serviceOf(content: object, billingProducts: string[] = []): PlansService {
  writeFileSync(file, JSON.stringify(content));
  return new PlansService({ plansFile: file, billingProducts });
}

const withFree = (limits: Record<string, unknown>) => ({ plans: { ...PLANS, free: { ...PLANS.free, limits: { ...FREE, ...limits } } } });
const product = (provider: string, productId: string, plan: string) => ({ provider, productId, plan });

describe('plans', () => {
  const content = {
    plans: { business: PLANS.business, pro: PLANS.pro, free: PLANS.free },
    aliases: { starter: 'pro', enterprise: 'business' },
    products: [product('polar', 'p-monthly', 'starter'), product('polar', 'p-yearly', 'pro'), product('dodo', 'pdt_b', 'business')],
  };

  it('are read with their limits, lowest first, for any order in the file', () => {
    const plans = serviceOf(content);
    expect(plans.list()).toEqual([
      { tier: 'free', ...PLANS.free, onRefund: 'keep', products: { polar: [], dodo: [] } },
      { tier: 'pro', ...PLANS.pro, onRefund: 'keep', products: { polar: ['p-monthly', 'p-yearly'], dodo: [] } },
      { tier: 'business', ...PLANS.business, onRefund: 'keep', products: { polar: [], dodo: ['pdt_b'] } },
    ]);
    expect(plans.get('pro')).toBe(plans.list()[1]);
  });

  it('are found by name and by alias', () => {
    const plans = serviceOf(content);
    for (const [name, tier] of Object.entries({ pro: 'pro', starter: 'pro', enterprise: 'business' })) {
      expect(plans.find(name)?.tier).toBe(tier);
    }
    for (const name of ['gold', '', 'Pro', 'toString', '__proto__']) expect(plans.find(name)).toBeUndefined();
  });

  it('are sold by the products in the file and in BILLING_PRODUCTS together', () => {
    const plans = serviceOf(content, ['dodo:pdt_p=starter', 'polar:p-yearly=pro', 'polar:a:b=c==business']);
    expect(plans.tierOfProduct('polar', 'p-monthly')).toBe('pro');
    expect(plans.tierOfProduct('dodo', 'pdt_p')).toBe('pro');
    expect(plans.tierOfProduct('polar', 'a:b=c=')).toBe('business');
    expect(plans.get('pro').products).toEqual({ polar: ['p-monthly', 'p-yearly'], dodo: ['pdt_p'] });
  });

  it('are not sold by unmapped products or by products of another provider', () => {
    const plans = serviceOf(content);
    expect(plans.tierOfProduct('dodo', 'p-monthly')).toBeUndefined();
    expect(plans.tierOfProduct('polar', 'unknown')).toBeUndefined();
    expect(plans.tierOfProduct('manual', 'p-monthly')).toBeUndefined();
    expect(plans.tierOfProduct('polar', null)).toBeUndefined();
  });

  it('are listed by feature', () => {
    const plans = serviceOf(content);
    expect(plans.tiersWithFeature('audit_log')).toEqual(['pro', 'business']);
    expect(plans.tiersWithFeature('sso')).toEqual(['business']);
    expect(plans.tiersWithFeature('nothing')).toEqual([]);
  });

  it('need neither aliases nor products, and take null for no limit', () => {
    const unlimited = { tokensPerPeriod: null, requestsPerMinute: null, tokensPerMinute: null, seats: null };
    expect(serviceOf(withFree(unlimited)).get('free').limits).toEqual({ ...FREE, ...unlimited });
    expect(mistakesOf(withFree({ tokensPerPeriod: 0, seats: 0 }))).toEqual([]);
  });

  it('are not read from an invalid file', () => {
    expect(() => serviceOf({})).toThrow(ConfigError);
  });
});

describe('the check of the plans', () => {
  it('accepts the plans.json of the repository', () => {
    expect(planMistakes({ plansFile: 'plans.json', billingProducts: [] })).toEqual([]);
  });

  it.each([
    ['a plan that is missing', { plans: { ...PLANS, pro: undefined } }, 'file: plans.pro is missing'],
    ['a plan that nobody knows', { plans: { ...PLANS, gold: PLANS.pro } }, 'file: plans.gold is unknown'],
    ['a plan without a name', { plans: { ...PLANS, pro: { ...PLANS.pro, name: ' ' } } }, 'file: plans.pro.name must not be empty'],
    ['no plans at all', {}, 'file: plans is missing'],
    ['a list instead of plans', [], 'file: must be an object'],
    ['a key that nobody knows', { plans: PLANS, alias: {} }, 'file: alias is unknown'],
    ['a limit that nobody knows', withFree({ seat: 5 }), 'file: plans.free.limits.seat is unknown'],
    ['a limit that is missing', withFree({ seats: undefined }), 'file: plans.free.limits.seats is missing'],
    ['a negative limit', withFree({ tokensPerPeriod: -1 }), 'file: plans.free.limits.tokensPerPeriod must not be negative'],
    ['half a seat', withFree({ seats: 1.5 }), 'file: plans.free.limits.seats must be a whole number or null'],
    ['a number as text', withFree({ seats: '5' }), 'file: plans.free.limits.seats must be a whole number or null'],
    ['a rate of nothing', withFree({ requestsPerMinute: 0 }), 'file: plans.free.limits.requestsPerMinute must be at least 1'],
    ['a limit that is neither hard nor soft', withFree({ tokenLimit: 'firm' }), 'file: plans.free.limits.tokenLimit must be hard or soft'],
    [
      'a feature with blanks',
      withFree({ features: ['audit_log', 'Single sign-on'] }),
      'file: plans.free.limits.features[1] must be like audit_log',
    ],
    [
      'what nobody does with a refund',
      { plans: { ...PLANS, pro: { ...PLANS.pro, onRefund: 'stop' } } },
      'file: plans.pro.onRefund must be keep or end',
    ],
    ['an alias of no plan', { plans: PLANS, aliases: { team: 'gold' } }, 'file: aliases.team must be one of free, pro, business'],
    ['an alias of an alias', { plans: PLANS, aliases: { a: 'pro', b: 'a' } }, 'file: aliases.b must be one of free, pro, business'],
    ['an alias named as a plan', { plans: PLANS, aliases: { pro: 'business' } }, 'file: aliases.pro is a plan itself'],
    ['products that are no list', { plans: PLANS, products: { polar: {} } }, 'file: products must be a list'],
    ['a product that is only an id', { plans: PLANS, products: ['p1'] }, 'file products[0]: must be an object'],
    ['a product without an id', { plans: PLANS, products: [product('polar', '', 'pro')] }, 'file products[0]: productId must not be empty'],
    [
      'a product of another provider',
      { plans: PLANS, products: [product('stripe', 'p1', 'pro')] },
      'file products[0]: provider must be one of polar, dodo',
    ],
    ['a product of no plan', { plans: PLANS, products: [product('polar', 'p1', 'gold')] }, 'file products[0]: there is no plan gold'],
    [
      'a product of two plans',
      { plans: PLANS, products: [product('polar', 'p1', 'pro'), product('polar', 'p1', 'business')] },
      'file products[1]: polar:p1 is already of the plan pro (file products[0])',
    ],
  ])('names %s', (_, content, mistake) => {
    expect(mistakesOf(content)).toEqual([mistake]);
  });

  it.each([
    ['nonsense', 'BILLING_PRODUCTS nonsense: must be provider:product=plan'],
    ['polar:=pro', 'BILLING_PRODUCTS polar:=pro: must be provider:product=plan'],
    ['polar:p2=', 'BILLING_PRODUCTS polar:p2=: must be provider:product=plan'],
    ['stripe:p2=pro', 'BILLING_PRODUCTS stripe:p2=pro: provider must be one of polar, dodo'],
    ['polar:p2=gold', 'BILLING_PRODUCTS polar:p2=gold: there is no plan gold'],
    ['polar:p1=free', 'BILLING_PRODUCTS polar:p1=free: polar:p1 is already of the plan starter (file products[0])'],
  ])('names the mistake in BILLING_PRODUCTS: %s', (text, mistake) => {
    const content = { plans: PLANS, aliases: { starter: 'pro' }, products: [product('polar', 'p1', 'starter')] };
    expect(mistakesOf(content, [text, 'polar:p1=starter', 'polar:p1=pro'])).toEqual([mistake]);
  });

  it('reports a file that is missing, is a folder, or is not JSON', () => {
    expect(planMistakes({ plansFile: path.join(directory, 'none'), billingProducts: ['nonsense'] })).toEqual([
      expect.stringMatching(/none cannot be read: ENOENT/),
    ]);
    expect(planMistakes({ plansFile: directory, billingProducts: [] })).toEqual([expect.stringMatching(/cannot be read: EISDIR/)]);
    expect(mistakesOf('{ "plans": {}, }')).toEqual([expect.stringMatching(/^file is not JSON: /)]);
  });

  it('reports every mistake at once, each one once', () => {
    const { limits } = PLANS.free;
    const content = {
      plans: { free: { name: 'Free', limits: { ...limits, seats: -1, seat: 1 } }, business: PLANS.business },
      aliases: { starter: 'pro', team: 'gold' },
      products: [5, product('polar', 'p1', 'team'), product('polar', 'p2', 'starter'), product('dodo', 'p2', 'pro')],
    };
    expect(mistakesOf(content, ['polar:p3=gold', 'polar:p2=business', 'polar:p4=starter'])).toEqual([
      'file: plans.free.description is missing',
      'file: plans.free.limits.seats must not be negative',
      'file: plans.free.limits.seat is unknown',
      'file: plans.pro is missing',
      'file: aliases.team must be one of free, pro, business',
      'file products[0]: must be an object',
      'BILLING_PRODUCTS polar:p3=gold: there is no plan gold',
      'BILLING_PRODUCTS polar:p2=business: polar:p2 is already of the plan starter (file products[2])',
    ]);
  });
});
