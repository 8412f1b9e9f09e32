/** A number of up to 15 digits, with an exponent of up to two, is always exact. In nearly all bodies there is no other. */
const LONG_NUMBER = /[:,[\s]-?(?:[\d.]{16}|[\d.]+[eE][+-]?\d{3})/;
/** Longer than any double is written; trimming zeros takes time with the square of the length. */
const MAX_NUMBER = 1000;
const TEXT_OR_NUMBER = /"(?:[^"\\]|\\.)*"|-?\d[\d.eE+-]*/gs;

/** Replaces a number that changed when it was parsed. It has a NUL, so no accepted text equals it. */
export const INEXACT_NUMBER = '\0inexact number';

/** Parses JSON and marks each number that a double cannot hold exactly, such as 12345678901234567890 or 1e400. @throws {SyntaxError} */
export function parseWithExactNumbers(json: string): unknown {
  const value: unknown = JSON.parse(json);
  if (!LONG_NUMBER.test(json)) return value;
  const marked = json.replace(TEXT_OR_NUMBER, (token) =>
    token.startsWith('"') || isExact(token) ? token : JSON.stringify(INEXACT_NUMBER),
  );
  return marked === json ? value : JSON.parse(marked);
}

function isExact(written: string): boolean {
  if (written.length > MAX_NUMBER) return false;
  const number = Number(written);
  return Number.isFinite(number) && decimalOf(written) === decimalOf(String(number));
}

/** Significant digits and the exponent of the last one: `1.50e3` is `15e2`. */
function decimalOf(text: string): string {
  const [mantissa = '', exponent = '0'] = text.replace(/^-/, '').toLowerCase().split('e');
  const [whole = '', fraction = ''] = mantissa.split('.');
  const digits = (whole + fraction).replace(/^0+/, '');
  const significant = digits.replace(/0+$/, '');
  if (significant === '') return '0';
  return `${significant}e${Number(exponent) - fraction.length + digits.length - significant.length}`;
}
