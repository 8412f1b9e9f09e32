import { Seeded } from '../simulators/seeded.js';

export const FAULTS = [
  'kill -9',
  'restart PostgreSQL (fast)',
  'restart PostgreSQL (immediate)',
  'terminate connections',
  'exhaust connections',
  'freeze PostgreSQL',
  'delay the network',
  'swallow the network, then reset it',
  'cut the network',
  'fail the mail server',
] as const;
export type FaultKind = (typeof FAULTS)[number];

export interface ScheduledFault {
  kind: FaultKind;
  /** After the end of the fault before it. */
  pauseMs: number;
  lastsMs: number;
  /** Which of the processes, where it concerns one. */
  victim: number;
}

/** The same for the same seed: every kind once in each round, in any order, until the time is over. */
export function schedule(seed: string, minutes: number): ScheduledFault[] {
  const chance = new Seeded(`faults ${seed}`);
  const [longest, end] = [minutes >= 10 ? 20_000 : 5000, minutes * 60_000 - 3000];
  const planned: ScheduledFault[] = [];
  for (let at = 0; ;) {
    const round = FAULTS.map((kind) => [chance.next(), kind] as const).toSorted(([a], [b]) => a - b);
    for (const [, kind] of round) {
      const fault = { kind, pauseMs: chance.between(3000, 6000), lastsMs: chance.between(2000, longest), victim: chance.between(0, 2) };
      at += fault.pauseMs + fault.lastsMs;
      if (at > end) return planned;
      planned.push(fault);
    }
  }
}
