import { BILLING_MUTATIONS, CLERK_MUTATIONS, LEDGER_MUTATIONS, WITHOUT_LOCKS } from '../support/proof-mutations.js';
import { locate } from '../support/sources.js';
import { MUTATIONS, unmutatedPredicates } from '../support/tenancy-mutations.js';

describe('the mutations', () => {
  it('of the proofs change lines that exist', () => {
    for (const mutation of [...CLERK_MUTATIONS, ...BILLING_MUTATIONS, ...LEDGER_MUTATIONS, WITHOUT_LOCKS])
      expect(locate(mutation).start).toBeGreaterThan(0);
  });

  it('take out every predicate that says which tenant a row belongs to, or say why they cannot', () => {
    expect(unmutatedPredicates()).toEqual([]);
  });

  it('are asked for with the file that lacks one', () => {
    const withoutKeys = MUTATIONS.filter(({ within }) => within !== 'ApiKeysRepository.list');
    expect(unmutatedPredicates(withoutKeys)).toContainEqual(
      expect.stringMatching(
        /^src\/api-keys\/api-keys\.repository\.ts:\d+: no mutation takes out eq\(.*; add one to test\/api-keys\/api-keys\.mutations\.ts$/,
      ),
    );
  });
});
