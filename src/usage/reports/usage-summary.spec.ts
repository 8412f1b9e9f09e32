import { keyedGroups, type UsageTotal } from './usage-summary.js';

const totalOf = (tokensUsed: number): UsageTotal => ({
  events: 1,
  inputTokens: 0,
  outputTokens: 0,
  cachedInputTokens: 0,
  reasoningTokens: 0,
  tokensUsed,
  overrun: 0,
});
const keysOf = (groups: [string | null, number][]) =>
  keyedGroups(new Map(groups.map(([key, tokens]) => [key, totalOf(tokens)]))).map(({ key }) => key);

describe('groups of a summary', () => {
  it('are sorted by tokens, most first', () => {
    expect(
      keysOf([
        ['a', 1],
        ['b', 3],
        [null, 2],
      ]),
    ).toEqual(['b', null, 'a']);
  });

  it('with equal tokens are sorted by key, and the group without a user is last', () => {
    const equals: [string | null, number][] = [
      [null, 5],
      ['b', 5],
      ['B', 5],
      ['é', 5],
      ['a', 5],
    ];
    for (const groups of [equals, equals.toReversed()]) expect(keysOf(groups)).toEqual(['B', 'a', 'b', 'é', null]);
  });
});
