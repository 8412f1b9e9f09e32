import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { startTestApp, type TestApp } from '../support/app.js';
import { signUp } from '../support/people.js';

interface PlanFile {
  plans: Record<string, { name: string; description: string; limits: Record<string, unknown> }>;
  aliases: Record<string, string>;
  products: { provider: string; productId: string; plan: string }[];
}

const shipped = JSON.parse(readFileSync('plans.json', 'utf8')) as PlanFile;

describe('the plans', () => {
  let t: TestApp;
  beforeAll(async () => {
    t = await startTestApp();
  });
  afterAll(() => t.close());

  it('are public as the plan file has them, smallest first', async () => {
    const { body, headers } = await t.http.get('/v1/plans').expect(200);
    expect(body).toEqual({
      data: ['free', 'pro', 'business'].map((tier) => ({ tier, ...shipped.plans[tier], products: expect.any(Array) })),
      nextCursor: null,
    });
    expect(headers['ratelimit']).toMatch(/^"api";/);
    const person = await signUp(t);
    expect((await t.http.get('/v1/plans').set(person.auth).expect(200)).body).toEqual(body);
  });

  it('cannot be changed over the API', async () => {
    const person = await signUp(t);
    for (const method of ['post', 'put', 'patch', 'delete'] as const) {
      const { body } = await t.http[method]('/v1/plans').set(person.auth).send({}).expect(405);
      expect(body).toMatchObject({ code: 'method_not_allowed' });
    }
    await t.http.get('/v1/plans/pro').expect(404);
  });
});

describe('another plan file', () => {
  const directory = mkdtempSync(path.join(tmpdir(), 'tenantry-plans-'));
  const file = path.join(directory, 'plans.json');
  afterAll(() => rmSync(directory, { recursive: true, force: true }));

  it('changes the response after a restart', async () => {
    const changed = structuredClone(shipped);
    changed.plans['pro']!.name = 'Professional';
    changed.plans['pro']!.limits = { ...changed.plans['pro']!.limits, tokensPerPeriod: null, seats: 7, features: ['sso'] };
    changed.aliases = { starter: 'pro' };
    changed.products = [
      { provider: 'polar', productId: 'monthly', plan: 'pro' },
      { provider: 'dodo', productId: 'pdt_yearly', plan: 'starter' },
    ];
    writeFileSync(file, JSON.stringify(changed));
    const t = await startTestApp({ PLANS_FILE: file, BILLING_PRODUCTS: 'polar:yearly=pro, dodo:pdt_b=business' });
    const { body } = await t.http.get('/v1/plans').expect(200);
    await t.close();
    const [free, pro, business] = body.data;
    expect(free).toEqual({ tier: 'free', ...shipped.plans['free'], products: [] });
    expect(pro).toEqual({
      tier: 'pro',
      ...changed.plans['pro'],
      products: [
        { provider: 'polar', productId: 'monthly' },
        { provider: 'polar', productId: 'yearly' },
        { provider: 'dodo', productId: 'pdt_yearly' },
      ],
    });
    expect(business.products).toEqual([{ provider: 'dodo', productId: 'pdt_b' }]);
  });
});
