import { Seeded } from '../simulators/seeded.js';

export const FAULTS = [
  'kill -9',
  'freeze a process',
  'restart PostgreSQL (fast)',
  'restart PostgreSQL (immediate)',
  'terminate connections',
  'exhaust connections',
  'freeze PostgreSQL',
  'delay the network',
  'swallow the network, then reset it',
  'cut the network',
  'fail the mail server',
  'fail the APIs of the providers',
] as const;

type FaultKind = (typeof FAULTS)[number] | 'apply the new migrations' | 'roll to the new version' | 'roll back to the old version';

export interface ScheduledFault {
  kind: FaultKind;
  /** After the end of the fault before it. */
  pauseMs: number;
  lastsMs: number;
  /** Which of the processes, where it concerns one. */
  victim: number;
}

const PROCESSES = [0, 1, 2];

/** The same for the same seed: every kind once in each round, in any order, until the time is over. A long one has the steps of an update. */
export function schedule(seed: string, minutes: number, { isLong = false } = {}): ScheduledFault[] {
  const chance = new Seeded(`faults ${seed}`);
  const [longest, end] = [minutes >= 10 ? 20_000 : 5000, minutes * 60_000 - 3000];
  const updates = isLong ? updateSteps(seed) : [];
  const planned: ScheduledFault[] = [];
  for (let at = updates.reduce((sum, { pauseMs, lastsMs }) => sum + pauseMs + lastsMs, 0); ;) {
    for (const kind of shuffled(FAULTS, chance)) {
      const fault = { kind, pauseMs: chance.between(3000, 6000), lastsMs: chance.between(2000, longest), victim: chance.between(0, 2) };
      at += fault.pauseMs + fault.lastsMs;
      if (at > end) return spread(updates, planned);
      planned.push(fault);
    }
  }
}

/** How far the clock of each process is ahead: one is right, one ahead and one behind, by minutes. */
export function clockShifts(seed: string): number[] {
  const chance = new Seeded(`clocks ${seed}`);
  return [0, chance.between(60, 240) * 1000, -chance.between(60, 240) * 1000];
}

/** The migrations while every process is old, then one process after the other: forward, back, and forward again. */
function updateSteps(seed: string): ScheduledFault[] {
  const chance = new Seeded(`update ${seed}`);
  const step = (kind: FaultKind, victim: number) => ({ kind, victim, pauseMs: chance.between(3000, 6000), lastsMs: 5000 });
  const roll = (kind: FaultKind) => shuffled(PROCESSES, chance).map((victim) => step(kind, victim));
  return [
    step('apply the new migrations', 0),
    ...roll('roll to the new version'),
    ...roll('roll back to the old version'),
    ...roll('roll to the new version'),
  ];
}

function shuffled<T>(all: readonly T[], chance: Seeded): T[] {
  return all
    .map((one) => [chance.next(), one] as const)
    .toSorted(([a], [b]) => a - b)
    .map(([, one]) => one);
}

/** In their order, at equal distances among the first two thirds of the others. */
function spread(steps: ScheduledFault[], others: ScheduledFault[]): ScheduledFault[] {
  const placed = steps.map((step, index) => [Math.round(((index + 1) * others.length * 2) / (3 * steps.length)), step] as const);
  return [...others, undefined].flatMap((other, at) => [
    ...placed.filter(([place]) => place === at).map(([, step]) => step),
    ...(other === undefined ? [] : [other]),
  ]);
}
