import { csvLine } from './csv.js';

describe('a line of CSV', () => {
  it('writes cells unchanged, and null as an empty cell', () => {
    expect(csvLine(['run-7', 12, 0, null, '', 'Grüße, 東京'])).toBe('run-7,12,0,,,"Grüße, 東京"\r\n');
  });

  it('quotes characters that would end a cell or a line', () => {
    expect(csvLine(['a,b', 'say "hi"', 'two\nlines', 'cr\rhere', '{"a":1}'])).toBe(
      '"a,b","say ""hi""","two\nlines","cr\rhere","{""a"":1}"\r\n',
    );
  });

  it.each(['=1+1', '+1', '-1', '@SUM(A1)', '\t=1', ' =1', '＝1', '\rx', '\n=1', '=cmd|"/c calc"!A0', '-2+3,4'])(
    'never starts a text like a formula: %j',
    (text) => {
      const cell = csvLine([text, 1]).slice(0, -'1\r\n'.length - 1);
      const shown = cell.startsWith('"') ? cell.slice(1, -1).replaceAll('""', '"') : cell;
      expect(shown).toBe(`'${text}`);
    },
  );

  it('leaves numbers unchanged, because they cannot be formulas', () => {
    expect(csvLine([-1, 9_007_199_254_740_991])).toBe('-1,9007199254740991\r\n');
  });
});
