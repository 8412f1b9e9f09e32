import { operators, users, type Expectation } from '../support/expectations.js';

export const operations: Record<string, Expectation> = {
  listPrices: { access: users(200) },
  setPrices: {
    access: operators(200),
    body: () => ({ prices: [{ model: 'a-model', tokenClass: 'input', microsPerMillion: 1, effectiveFrom: '2026-01-01' }] }),
    audit: {
      action: 'prices.set',
      target: () => 'book',
      changes: { 'a-model input 2026-01-01T00:00:00.000Z': { after: '1 USD' } },
      organization: null,
      // Setting the same price again would change nothing.
      prepare: ({ t }) => t.db.rows('DELETE FROM prices'),
    },
  },
};
