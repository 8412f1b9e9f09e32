import { readdirSync, readFileSync } from 'node:fs';
import { startTestApp, type TestApp } from '../support/app.js';
import { signUp, signUpOperator, type SignedInPerson } from '../support/people.js';
import { allPages } from '../support/tenants.js';

interface Listed {
  model: string;
  tokenClass: string;
  microsPerMillion: number;
  currency: string;
  effectiveFrom: string;
}

describe('prices', () => {
  let t: TestApp;
  let operator: SignedInPerson;
  let person: SignedInPerson;
  beforeAll(async () => {
    t = await startTestApp();
    operator = await signUpOperator(t);
    person = await signUp(t);
  });
  afterAll(() => t.close());
  beforeEach(async () => {
    await t.db.rows('DELETE FROM prices');
  });

  const put = (...prices: unknown[]) => t.http.put('/v1/prices').set(operator.auth).send({ prices });
  const set = async (...prices: unknown[]) => (await put(...prices).expect(200)).body.prices as Listed[];
  const list = async (query = '') => (await t.http.get(`/v1/prices${query}`).set(person.auth).expect(200)).body.data as Listed[];
  const audit = async () =>
    t.db.rows<{ changes: object; actor_id: string }>(
      `SELECT changes, actor_id FROM audit_log WHERE action = 'prices.set' ORDER BY id DESC`,
    );
  const errorsOf = async (...prices: unknown[]) => (await put(...prices).expect(400)).body.errors as { path: string }[];

  const JANUARY = '2026-01-01T00:00:00.000Z';
  const price = (given: object = {}) => ({ model: 'm', tokenClass: 'input', microsPerMillion: 1000, effectiveFrom: JANUARY, ...given });

  it('from before 1970 apply from 1970 on after the upgrade', async () => {
    const insert = async (model: string, from: string, micros: number) =>
      t.db.rows(
        `INSERT INTO prices (model, token_class, effective_from, micros_per_million, currency) VALUES ($1, 'input', $2, $3, 'USD')`,
        [model, from, micros],
      );
    await insert('a', '0001-01-01T00:00:00Z', 1);
    await insert('a', '0099-01-01T00:00:00Z', 2);
    await insert('a', '2026-01-01T00:00:00Z', 3);
    await insert('b', '1969-01-01T00:00:00Z', 4);
    await insert('b', '1970-01-01T00:00:00Z', 5);
    const file = readdirSync('drizzle').find((name) => name.endsWith('_prices_from_1970.sql'))!;
    await t.db.rows(readFileSync(`drizzle/${file}`, 'utf8'));
    expect((await list()).map(({ model, effectiveFrom, microsPerMillion }) => [model, effectiveFrom, microsPerMillion])).toEqual([
      ['a', '1970-01-01T00:00:00.000Z', 2],
      ['a', '2026-01-01T00:00:00.000Z', 3],
      ['b', '1970-01-01T00:00:00.000Z', 5],
    ]);
  });

  it('are set by operators, visible to every user, and audited', async () => {
    const input = { model: 'm', tokenClass: 'input', microsPerMillion: 2_500_000, currency: 'EUR', effectiveFrom: JANUARY };
    const cached = { ...input, tokenClass: 'cachedInput', microsPerMillion: 0 };
    expect(await set(cached, input)).toEqual([cached, input]);
    expect(await list()).toEqual([input, cached]);
    expect((await audit())[0]).toEqual({
      actor_id: operator.id,
      changes: { [`m input ${JANUARY}`]: { after: '2500000 EUR' }, [`m cached_input ${JANUARY}`]: { after: '0 EUR' } },
    });
    await set({ ...input, microsPerMillion: 3 }, cached);
    expect((await audit())[0]!.changes).toEqual({ [`m input ${JANUARY}`]: { before: '2500000 EUR', after: '3 EUR' } });
    const entries = await audit();
    await set(cached);
    expect(await audit()).toEqual(entries);
  });

  it('accept every token class, and prices up to 2^53 - 1', async () => {
    const classes = ['input', 'output', 'cachedInput', 'reasoning', 'total'];
    await set(...classes.map((tokenClass) => price({ tokenClass, microsPerMillion: Number.MAX_SAFE_INTEGER })));
    expect((await list()).map(({ tokenClass, microsPerMillion }) => [tokenClass, microsPerMillion])).toEqual(
      classes.map((tokenClass) => [tokenClass, Number.MAX_SAFE_INTEGER]),
    );
  });

  it('start with the current hour in USD by default', async () => {
    const before = Date.now();
    const [one] = await set({ model: 'm', tokenClass: 'input', microsPerMillion: 1 });
    const start = Date.parse(one!.effectiveFrom);
    expect(start % 3_600_000).toBe(0);
    expect(start).toBeGreaterThan(before - 3_600_000);
    expect(start).toBeLessThanOrEqual(Date.now());
    expect(one!.currency).toBe('USD');
  });

  it('are listed page by page, by model, and as of a time', async () => {
    const times = ['2026-01-01T00:00:00.000Z', '2026-02-01T00:00:00.000Z', '2026-03-01T05:00:00.000Z'];
    const all = ['a', 'b', 'Ä "quoted"'].flatMap((model) =>
      times.flatMap((effectiveFrom, index) => [
        price({ model, effectiveFrom, microsPerMillion: index }),
        price({ model, effectiveFrom, tokenClass: 'reasoning', microsPerMillion: index }),
      ]),
    );
    await set(...all);
    const paged = await allPages<Listed>(t, person, '/v1/prices', 5);
    expect(paged).toHaveLength(18);
    expect(paged).toEqual(await list('?limit=100'));
    expect(paged.map(({ model, tokenClass, effectiveFrom }) => `${model} ${tokenClass} ${effectiveFrom}`).toSorted()).toEqual(
      all.map(({ model, tokenClass, effectiveFrom }) => `${model} ${tokenClass} ${effectiveFrom}`).toSorted(),
    );
    expect(await list('?model=a')).toHaveLength(6);
    const at = async (time: string) =>
      (await list(`?model=b&at=${time}`)).map(({ tokenClass, microsPerMillion }) => [tokenClass, microsPerMillion]);
    expect(await at('2025-12-31T23:59:59Z')).toEqual([]);
    expect(await at('2026-02-28')).toEqual([
      ['input', 1],
      ['reasoning', 1],
    ]);
    expect(await at('2026-03-01T05:00:00Z')).toEqual([
      ['input', 2],
      ['reasoning', 2],
    ]);
    expect(await allPages<Listed>(t, person, '/v1/prices?at=2027-01-01', 4)).toHaveLength(6);
  });

  it('reject a cursor of another list', async () => {
    await set(price(), price({ tokenClass: 'output' }));
    const { body } = await t.http.get('/v1/prices?limit=1').set(person.auth).expect(200);
    const { body: problem } = await t.http.get(`/v1/prices?model=m&cursor=${body.nextCursor}`).set(person.auth).expect(400);
    expect(problem.code).toBe('invalid_cursor');
  });

  describe('have one currency', () => {
    it('which is the existing one by default', async () => {
      await set(price({ currency: 'EUR' }));
      expect((await set(price({ tokenClass: 'output' })))[0]!.currency).toBe('EUR');
    });

    it('and a request with another one changes nothing', async () => {
      await set(price({ currency: 'EUR' }));
      const { body } = await put(price({ model: 'other', currency: 'EUR' }), price({ tokenClass: 'output', currency: 'USD' })).expect(409);
      expect(body.code).toBe('other_currency');
      expect(await list()).toHaveLength(1);
    });

    it('which changes when all prices are set again', async () => {
      await set(price({ currency: 'EUR' }), price({ tokenClass: 'output', currency: 'EUR' }));
      await set(price({ currency: 'USD' }), price({ tokenClass: 'output', currency: 'USD' }), price({ tokenClass: 'total' }));
      expect((await list()).map(({ currency }) => currency)).toEqual(['USD', 'USD', 'USD']);
    });

    it('also when two operators set the first prices concurrently', async () => {
      for (let round = 0; round < 5; round += 1) {
        await t.db.rows('DELETE FROM prices');
        const answers = await Promise.all(['EUR', 'USD'].map((currency) => put(price({ model: currency, currency }))));
        expect(answers.map(({ status }) => status).sort()).toEqual([200, 409]);
        expect(await list()).toHaveLength(1);
      }
    });
  });

  it('are rejected off the hour and as duplicates, each with its position', async () => {
    const errors = await errorsOf(price(), price({ tokenClass: 'output', effectiveFrom: '2026-01-01T00:30:00+05:00' }), price());
    expect(errors.map(({ path }) => path)).toEqual(['body.prices.1.effectiveFrom', 'body.prices.2']);
    await set(price({ effectiveFrom: '2026-01-01T05:30:00+05:30' }));
    expect(await list()).toMatchObject([{ effectiveFrom: JANUARY }]);
  });

  it.each<[string, unknown[]]>([
    ['body.prices', []],
    ['body.prices', Array.from({ length: 201 }, (_, index) => price({ model: `m${index}` }))],
    ['body.prices', [[]]],
    ['body.prices', ['x']],
    ['body.prices', [null]],
    ['body.prices.0.model', [price({ model: '' })]],
    ['body.prices.0.model', [price({ model: 'x'.repeat(201) })]],
    ['body.prices.0.tokenClass', [price({ tokenClass: 'cached_input' })]],
    ['body.prices.0.microsPerMillion', [price({ microsPerMillion: -1 })]],
    ['body.prices.0.microsPerMillion', [price({ microsPerMillion: 0.5 })]],
    ['body.prices.0.microsPerMillion', [price({ microsPerMillion: 2 ** 53 })]],
    ['body.prices.0.microsPerMillion', [price({ microsPerMillion: '5' })]],
    ['body.prices.0.currency', [price({ currency: 'usd' })]],
    ['body.prices.0.currency', [price({ currency: null })]],
    ['body.prices.0.effectiveFrom', [price({ effectiveFrom: 'tomorrow' })]],
    ['body.prices.0.effectiveFrom', [price({ effectiveFrom: null })]],
    ['body.prices.0.more', [price({ more: 1 })]],
  ])('are rejected with an invalid value at %s', async (path, prices) => {
    expect((await errorsOf(...prices)).map((error) => error.path)).toContain(path);
    expect(await list()).toEqual([]);
  });

  it('are accepted 200 at once', async () => {
    await set(...Array.from({ length: 200 }, (_, index) => price({ model: `model ${index}` })));
    expect(await allPages(t, person, '/v1/prices', 100)).toHaveLength(200);
  });
});
