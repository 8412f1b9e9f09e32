import { StatementNames } from './statement-names.js';

describe('the names of statements', () => {
  it('are given to a statement from its second use on, and do not change', () => {
    const names = new StatementNames();
    expect(names.of('SELECT $1')).toBeUndefined();
    const name = names.of('SELECT $1');
    expect(name).toMatch(/^t_[\w-]{20}$/);
    expect(names.of('SELECT $1')).toBe(name);
  });

  it('are the same in every process, and differ for different statements', () => {
    const [one, other] = [new StatementNames(), new StatementNames()];
    const second = (names: StatementNames, text: string) => {
      names.of(text);
      return names.of(text);
    };
    expect(second(one, 'SELECT $1')).toBe(second(other, 'SELECT $1'));
    expect(second(one, 'SELECT $2')).not.toBe(second(one, 'SELECT $1'));
  });

  it('are limited in number, because each takes memory on every connection', () => {
    const names = new StatementNames(2);
    for (const text of ['a', 'b', 'c', 'a', 'b', 'c']) names.of(text);
    expect(names.of('a')).toBeDefined();
    expect(names.of('b')).toBeDefined();
    expect(names.of('c')).toBeUndefined();
  });
});
