import { parseArgs } from 'node:util';

const { values, positionals } = parseArgs({
  options: { compare: { type: 'string' }, ci: { type: 'boolean' }, markdown: { type: 'boolean' } },
  allowPositionals: true,
});

/** The command line of a run. */
export const options = {
  /** A git ref whose build runs beside ours in the same rounds. */
  compare: values.compare,
  /** Short rounds with generous bounds. */
  ci: values.ci === true,
  /** Prints the kept results instead of measuring. */
  markdown: values.markdown === true,
  names: positionals,
};
