import { BILLING_MUTATIONS, CLERK_MUTATIONS, LEDGER_MUTATIONS, RACE_MUTATIONS, WITHOUT_LOCKS } from '../support/proof-mutations.js';
import type { Place } from '../support/mutations.js';
import { locate } from '../support/sources.js';
import { MUTATIONS, UNREACHABLE, unmutatedPredicates } from '../support/tenancy-mutations.js';

function lost(place: Place): string[] {
  try {
    locate(place);
    return [];
  } catch (error) {
    return [(error as Error).message];
  }
}

describe('the mutations', () => {
  it('change lines that exist', () => {
    const places = [
      ...MUTATIONS,
      ...UNREACHABLE,
      ...CLERK_MUTATIONS,
      ...BILLING_MUTATIONS,
      ...LEDGER_MUTATIONS,
      ...RACE_MUTATIONS,
      WITHOUT_LOCKS,
    ];
    expect(places.flatMap(lost)).toEqual([]);
  });

  it('are lost when their declaration or their text is', () => {
    expect(lost({ within: 'isNewer', search: 'no such text' })).toEqual([expect.stringContaining('isNewer has "no such text" 0 times')]);
    expect(lost({ within: 'noSuchFunction', search: '' })).toEqual(['src/ has 0 declarations of noSuchFunction']);
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
