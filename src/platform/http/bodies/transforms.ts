/** For `@Transform()`: what is not text is left for the validators to refuse. */
export const trimmed = ({ value }: { value: unknown }) => (typeof value === 'string' ? value.trim() : value);

/** For `@Transform()`: `true` and `false` of a query string; the rest is left for the validators to refuse. */
export const booleanOf = ({ value }: { value: unknown }) => (value === 'true' ? true : value === 'false' ? false : value);

/** For `@ValidateIf()`: a field that may be left out, but not be null. */
export const whenGiven = (_: unknown, value: unknown) => value !== undefined;

/** For `@ValidateIf()`: a field that may be left out, or be null to remove what is there. */
export const whenNotNull = (_: unknown, value: unknown) => value !== undefined && value !== null;

/** For `@Transform()`: the digits of a query string; `Number()` alone would take `0x10`, `1e1`, blanks and nothing at all. */
export const integerOf = ({ value }: { value: unknown }) =>
  typeof value === 'string' && /^-?\d{1,15}$/.test(value) ? Number(value) : value;
