/** Trims text, and leaves other values to the validators. */
export const trimmed = ({ value }: { value: unknown }) => (typeof value === 'string' ? value.trim() : value);

export const booleanOf = ({ value }: { value: unknown }) => (value === 'true' ? true : value === 'false' ? false : value);

/** The field may be left out, but not be null. */
export const whenGiven = (_: unknown, value: unknown) => value !== undefined;

/** The field may be left out, or be null to remove the value. */
export const whenNotNull = (_: unknown, value: unknown) => value !== undefined && value !== null;

/** Only digits: `Number()` would accept `0x10`, `1e1` and blanks. */
export const integerOf = ({ value }: { value: unknown }) =>
  typeof value === 'string' && /^-?\d{1,15}$/.test(value) ? Number(value) : value;
