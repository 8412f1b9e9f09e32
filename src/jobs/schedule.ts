const DAY_SECONDS = 86_400;

/** How often a job runs. A tick that was missed, because no replica ran, is made up for at the next start. */
export type Schedule = { everySeconds: number } | { dailyAt: TimeOfDay };

/** `03:30`, in UTC. */
export type TimeOfDay = `${number}:${number}`;

export function periodSeconds(schedule: Schedule): number {
  return 'dailyAt' in schedule ? DAY_SECONDS : schedule.everySeconds;
}

/** The tick that is due now: the same on every replica. */
export function lastTick(schedule: Schedule, now: Date): Date {
  const periodMs = periodSeconds(schedule) * 1000;
  const offsetMs = 'dailyAt' in schedule ? millisecondsOf(schedule.dailyAt) : 0;
  return new Date(Math.floor((now.getTime() - offsetMs) / periodMs) * periodMs + offsetMs);
}

function millisecondsOf(time: TimeOfDay): number {
  const [, hours, minutes] = /^([01]\d|2[0-3]):([0-5]\d)$/.exec(time) ?? [];
  if (hours === undefined) throw new Error(`A time of day is written 03:30 (UTC), not ${time}`);
  return (Number(hours) * 60 + Number(minutes)) * 60_000;
}
