/** A month of usage: `start` belongs to it, `end` to the next one. */
export interface UsagePeriod {
  start: Date;
  end: Date;
}

/**
 * The month in UTC, counted from an anchor, that a moment is in. An anchor on a 29th to 31st begins shorter months
 * on their last day and returns to its own day in longer ones. Moments before the anchor are counted backwards.
 */
export function periodAt(anchor: Date, at: Date): UsagePeriod {
  const months = (at.getUTCFullYear() - anchor.getUTCFullYear()) * 12 + at.getUTCMonth() - anchor.getUTCMonth();
  const first = startOf(anchor, months) <= at ? months : months - 1;
  return { start: startOf(anchor, first), end: startOf(anchor, first + 1) };
}

/** Always counted from the anchor: adding a month to a month would lose the 31st for ever in February. */
function startOf(anchor: Date, months: number): Date {
  const start = new Date(anchor);
  start.setUTCDate(1);
  start.setUTCMonth(anchor.getUTCMonth() + months);
  const days = new Date(Date.UTC(start.getUTCFullYear(), start.getUTCMonth() + 1, 0)).getUTCDate();
  start.setUTCDate(Math.min(anchor.getUTCDate(), days));
  return start;
}
