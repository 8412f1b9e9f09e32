import { parseArgs } from 'node:util';

export const SABOTAGES = ['lost-write', 'double-count', 'revived-session', 'passed-cap', 'two-effects'] as const;
export type Sabotage = (typeof SABOTAGES)[number];

export interface FaultOptions {
  seed: string;
  minutes: number;
  /** Damages after the traffic, which the checks must find. */
  sabotages: Sabotage[];
}

export function readOptions(): FaultOptions {
  const { values } = parseArgs({
    options: { seed: { type: 'string', default: '1' }, minutes: { type: 'string' }, sabotage: { type: 'string' } },
  });
  const { seed, sabotage } = values;
  const sabotages = SABOTAGES.filter((one) => sabotage === one || sabotage === 'all');
  if (sabotage !== undefined && sabotages.length === 0) throw new Error(`--sabotage is one of ${SABOTAGES.join(', ')}, all`);
  const minutes = Number(values.minutes ?? (sabotage === undefined ? 2 : 0.05));
  if (!(minutes > 0)) throw new Error('--minutes is a number above 0');
  return { seed, minutes, sabotages };
}
