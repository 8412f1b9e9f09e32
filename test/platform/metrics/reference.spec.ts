import { referencePage } from '../../support/metrics-reference.js';

describe('docs/metrics.md', () => {
  it('lists every metric with its type and labels (after a change: npm run metrics:docs)', async () => {
    const { is, shouldBe } = await referencePage();
    expect(is).toBe(shouldBe);
  });
});
