import fc from 'fast-check';
import type { Owner } from '../../owners/owner.js';
import {
  claimsMatching,
  claimsFromHints,
  type CustomerRecords,
  idOfClaim,
  type OwnersByClaim,
  resolveOwnerChanges,
  firstKnownOwner,
} from './owner-claims.js';

const ACME: Owner = { kind: 'organization', id: 'acme' };
const ADA: Owner = { kind: 'user', id: 'ada' };
const BOB: Owner = { kind: 'user', id: 'bob' };

describe('the owner claims of a provider’s object', () => {
  it('are sorted: the organization it was bought for, the user, the customer’s external id, the customer’s metadata', () => {
    expect(
      claimsFromHints({
        customerMetadata: { userId: 'u2', organizationId: 'o2' },
        externalId: 'e1',
        metadata: { userId: 'u1', organizationId: 'o1' },
      }),
    ).toEqual(['organization:o1', 'user:u1', 'any:e1', 'organization:o2', 'user:u2']);
  });

  it('are listed once', () => {
    const metadata = { organizationId: 'o1' };
    expect(claimsFromHints({ metadata, externalId: 'e1', customerMetadata: metadata })).toEqual(['organization:o1', 'any:e1']);
  });

  it.each([
    ['nothing at all', {}],
    ['nothing', { metadata: null, externalId: null, customerMetadata: null }],
    ['other things', { metadata: { organization_id: 'o1', plan: 'pro' } }],
    ['empty ids', { metadata: { organizationId: '', userId: '' }, externalId: '' }],
    ['a number', { metadata: { organizationId: 7 } }],
    ['a list', { metadata: { organizationId: ['o1'], userId: { id: 'u1' } } }],
    ['an endless id', { metadata: { organizationId: 'o'.repeat(256) }, externalId: 'e'.repeat(10_000) }],
    ['what the database cannot hold', { metadata: { organizationId: 'o\0', userId: '\uD800' } }],
  ])('are empty for %s', (_what, ownerHints) => {
    expect(claimsFromHints(ownerHints)).toEqual([]);
  });

  it('keep an id with colons whole', () => {
    expect(idOfClaim(claimsFromHints({ externalId: 'a:b' })[0]!)).toBe('a:b');
  });

  it('are resolved by kind, or without one where the claim has none', () => {
    expect(claimsMatching({ kind: 'user', ids: ['ours', 'clerks'] })).toEqual(['user:ours', 'any:ours', 'user:clerks', 'any:clerks']);
  });

  it('resolve to the first claim that matches an owner', () => {
    const known: OwnersByClaim = new Map([
      ['user:u1', ADA],
      ['any:e1', ACME],
    ]);
    expect(firstKnownOwner(['organization:o1', 'user:u1', 'any:e1'], known)).toBe(ADA);
    expect(firstKnownOwner(['organization:o1'], known)).toBeUndefined();
    expect(firstKnownOwner([], known)).toBeUndefined();
  });
});

type Customer = NonNullable<CustomerRecords['customer']>;
type Row = CustomerRecords['subscriptions'][number];
type Paid = CustomerRecords['payments'][number];

const nobody = { ownerKind: null, ownerId: null, ownerClaims: [] as string[] };
const ownedBy = ({ kind: ownerKind, id: ownerId }: Owner) => ({ ownerKind, ownerId });
const customerOf = (given: Partial<Customer> = {}): Customer => ({ id: 'customer', ownerLinked: false, ...nobody, ...given });
const subscriptionOf = (id: string, given: Partial<Row> = {}): Row => ({
  id,
  providerSubscriptionId: id,
  ownerLinked: false,
  ...nobody,
  ...given,
});
const paymentOf = (id: string, given: Partial<Paid> = {}): Paid => ({
  id,
  providerPaymentId: id,
  providerSubscriptionId: null,
  ofProviderPaymentId: null,
  ...nobody,
  ...given,
});

describe('the owner of a customer’s records', () => {
  const known: OwnersByClaim = new Map([
    ['organization:acme', ACME],
    ['user:ada', ADA],
    ['user:bob', BOB],
  ]);

  /** The owners after the changes, by the rows' ids. */
  function ownersOf(books: Partial<CustomerRecords>, among = known): Record<string, string | undefined> {
    const whole = { customer: undefined, subscriptions: [], payments: [], ...books };
    const rows = [...(whole.customer === undefined ? [] : [whole.customer]), ...whole.subscriptions, ...whole.payments];
    const owners = new Map(rows.map(({ id, ownerId }) => [id, ownerId ?? undefined]));
    for (const { id, owner } of resolveOwnerChanges(whole, among)) owners.set(id, owner?.id);
    return Object.fromEntries(owners);
  }

  it('is the owner that each record claims', () => {
    const books = {
      customer: customerOf({ ownerClaims: ['user:ada'] }),
      subscriptions: [subscriptionOf('s1', { ownerClaims: ['organization:acme'] })],
      payments: [paymentOf('p1', { ownerClaims: ['user:bob'] })],
    };
    expect(ownersOf(books)).toEqual({ customer: 'ada', s1: 'acme', p1: 'bob' });
  });

  it('is the customer’s, where a subscription or payment claims no known owner', () => {
    const books = {
      customer: customerOf({ ownerClaims: ['user:ada'] }),
      subscriptions: [subscriptionOf('s1', { ownerClaims: ['organization:gone'] })],
      payments: [paymentOf('p1'), paymentOf('r1', { ofProviderPaymentId: 'p1' })],
    };
    expect(ownersOf(books)).toEqual({ customer: 'ada', s1: 'ada', p1: 'ada', r1: 'ada' });
  });

  it('is the subscription’s for its payments, and the payment’s for its refunds, before the customer’s', () => {
    const books = {
      customer: customerOf({ ownerClaims: ['user:ada'] }),
      subscriptions: [subscriptionOf('s1', { ownerClaims: ['organization:acme'] })],
      payments: [
        paymentOf('r1', { ofProviderPaymentId: 'p1' }),
        paymentOf('p1', { providerSubscriptionId: 's1' }),
        paymentOf('p2', { ownerClaims: ['user:bob'] }),
        paymentOf('r2', { ofProviderPaymentId: 'p2' }),
        paymentOf('r3', { ofProviderPaymentId: 'unheard of' }),
      ],
    };
    expect(ownersOf(books)).toEqual({ customer: 'ada', s1: 'acme', p1: 'acme', r1: 'acme', p2: 'bob', r2: 'bob', r3: 'ada' });
  });

  it('is the subscription’s for a refund that names a subscription and a payment with another owner', () => {
    const books = {
      subscriptions: [subscriptionOf('s1', { ownerClaims: ['organization:acme'] })],
      payments: [
        paymentOf('p1', { ownerClaims: ['user:bob'] }),
        paymentOf('r1', { ofProviderPaymentId: 'p1', providerSubscriptionId: 's1' }),
      ],
    };
    expect(ownersOf(books)).toEqual({ s1: 'acme', p1: 'bob', r1: 'acme' });
  });

  it('stays the linked owner, whatever the records claim', () => {
    const linked = { ownerLinked: true, ...ownedBy(BOB) };
    const books = {
      customer: customerOf({ ...linked, ownerClaims: ['user:ada'] }),
      subscriptions: [subscriptionOf('s1', { ...linked, ownerClaims: ['organization:acme'] }), subscriptionOf('s2')],
      payments: [paymentOf('p1', { providerSubscriptionId: 's1' })],
    };
    expect(ownersOf(books)).toEqual({ customer: 'bob', s1: 'bob', s2: 'bob', p1: 'bob' });
  });

  it('is removed when neither the record nor its customer claims an owner any more', () => {
    const books = { customer: customerOf(ownedBy(ADA)), subscriptions: [subscriptionOf('s1', ownedBy(ADA))] };
    expect(ownersOf(books)).toEqual({ customer: undefined, s1: undefined });
  });

  it('is found without a customer', () => {
    expect(ownersOf({ subscriptions: [subscriptionOf('s1', { ownerClaims: ['user:ada'] })], payments: [paymentOf('p1')] })).toEqual({
      s1: 'ada',
      p1: undefined,
    });
  });

  it('does not change when it is right', () => {
    const customer = customerOf({ ...ownedBy(ADA), ownerClaims: ['user:ada'] });
    expect(resolveOwnerChanges({ customer, subscriptions: [subscriptionOf('s1', ownedBy(ADA))], payments: [] }, known)).toEqual([]);
  });

  it('changes its kind when another kind of owner has the same id', () => {
    const subscriptions = [subscriptionOf('s1', { ownerKind: 'organization', ownerId: 'ada', ownerClaims: ['user:ada'] })];
    expect(resolveOwnerChanges({ customer: undefined, subscriptions, payments: [] }, known)).toEqual([
      { table: 'subscription', id: 's1', owner: ADA },
    ]);
  });

  describe('does not depend on the order in which', () => {
    const claims = fc.subarray(['organization:acme', 'user:ada', 'user:bob', 'any:nobody'], { maxLength: 3 });
    const owner = fc.constantFrom(nobody, ownedBy(ACME), ownedBy(ADA));
    const linked = fc.tuple(owner, fc.boolean()).map(([is, isLinked]) => ({ ...is, ownerLinked: isLinked && is.ownerId !== null }));
    const subscriptionId = fc.constantFrom('s0', 's1', 's2', null);
    const customer = fc
      .option(fc.tuple(linked, claims), { nil: undefined })
      .map((given) => given && customerOf({ ...given[0], ownerClaims: given[1] }));
    const subscriptions = fc
      .array(fc.tuple(linked, claims), { maxLength: 3 })
      .map((all) => all.map(([is, ownerClaims], index) => subscriptionOf(`s${index}`, { ...is, ownerClaims })));
    // A refund is of a payment, which is of no other.
    const paid = fc.record({
      is: owner,
      ownerClaims: claims,
      of: fc.option(fc.constantFrom('p0', 'p1', 'p2', 'p9')),
      providerSubscriptionId: subscriptionId,
    });
    const payments = fc.array(paid, { maxLength: 4 }).map((all) =>
      all.map(({ is, of, ...given }, index) => {
        const original = all[Number(of?.slice(1))];
        const isRefund = of !== null && of !== `p${index}` && (original === undefined || original.of === null);
        return paymentOf(`p${index}`, { ...is, ...given, ofProviderPaymentId: isRefund ? of : null });
      }),
    );
    const books = fc.record({ customer, subscriptions, payments });
    const shuffled = books.chain((one) =>
      fc.tuple(
        fc.constant(one),
        fc.record({
          customer: fc.constant(one.customer),
          subscriptions: fc.shuffledSubarray(one.subscriptions, { minLength: one.subscriptions.length }),
          payments: fc.shuffledSubarray(one.payments, { minLength: one.payments.length }),
        }),
      ),
    );

    it('the rows are inserted', () => {
      fc.assert(
        fc.property(shuffled, ([one, other]) => {
          expect(ownersOf(other)).toEqual(ownersOf(one));
        }),
        { numRuns: 1000 },
      );
    });

    it('the owners appear and the claims are resolved', () => {
      fc.assert(
        fc.property(books, fc.shuffledSubarray([...known.keys()], { minLength: known.size }), (one, appearing) => {
          const settled = structuredClone(one);
          const present: OwnersByClaim = new Map();
          for (const claim of appearing) {
            present.set(claim, known.get(claim)!);
            settle(settled, present);
          }
          const atOnce = structuredClone(one);
          settle(atOnce, known);
          expect(settled).toEqual(atOnce);
          expect(resolveOwnerChanges(settled, known)).toEqual([]);
        }),
        { numRuns: 1000 },
      );
    });

    function settle(all: CustomerRecords, among: OwnersByClaim): void {
      const rows = { customer: all.customer === undefined ? [] : [all.customer], subscription: all.subscriptions, payment: all.payments };
      for (const { table, id, owner: is } of resolveOwnerChanges(all, among)) {
        const row = rows[table].find((candidate) => candidate.id === id)!;
        Object.assign(row, { ownerKind: is?.kind ?? null, ownerId: is?.id ?? null });
      }
    }
  });
});
