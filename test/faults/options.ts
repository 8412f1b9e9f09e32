import { parseArgs } from 'node:util';

export const SABOTAGES = ['lost-write', 'double-count', 'revived-session', 'passed-cap', 'two-effects'] as const;
export type Sabotage = (typeof SABOTAGES)[number];

/** From this length on, a run is a long one. */
const LONG_MINUTES = 10;

export interface FaultOptions {
  seed: string;
  minutes: number;
  /** With an older version, a migration under traffic, and clocks that differ. */
  isLong: boolean;
  /** The git ref of the older version; by default, the commit before the three newest migrations. */
  old?: string;
  /** Damages after the traffic, which the checks must find. */
  sabotages: Sabotage[];
}

export function readOptions(): FaultOptions {
  const { values } = parseArgs({
    options: {
      seed: { type: 'string', default: '1' },
      minutes: { type: 'string' },
      long: { type: 'boolean', default: false },
      old: { type: 'string' },
      sabotage: { type: 'string' },
    },
  });
  const { seed, sabotage, old } = values;
  const sabotages = SABOTAGES.filter((one) => sabotage === one || sabotage === 'all');
  if (sabotage !== undefined && sabotages.length === 0) throw new Error(`--sabotage is one of ${SABOTAGES.join(', ')}, all`);
  const minutes = Number(values.minutes ?? (sabotage === undefined ? 2 : 0.05));
  if (!(minutes > 0)) throw new Error('--minutes is a number above 0');
  return { seed, minutes, isLong: sabotages.length === 0 && (values.long || minutes >= LONG_MINUTES), old, sabotages };
}
