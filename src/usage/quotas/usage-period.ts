/** What one allowance of tokens is for: `start` belongs to it, `end` to the next one. */
export interface UsagePeriod {
  start: Date;
  end: Date;
  /** Another period began before this one would have ended. */
  isCut?: boolean;
}

/**
 * The month in UTC, counted from an anchor, that a moment is in. An anchor on a 29th to 31st begins shorter months
 * on their last day and returns to its own day in longer ones. Moments before the anchor are counted backwards.
 */
export function monthAt(anchor: Date, at: Date): UsagePeriod {
  const months = (at.getUTCFullYear() - anchor.getUTCFullYear()) * 12 + at.getUTCMonth() - anchor.getUTCMonth();
  const first = addMonths(anchor, months) <= at ? months : months - 1;
  return { start: addMonths(anchor, first), end: addMonths(anchor, first + 1) };
}

/** Always from the anchor: a month after a month would lose the 31st for ever in February. */
export function addMonths(anchor: Date, months: number): Date {
  const moved = new Date(anchor);
  moved.setUTCDate(1);
  moved.setUTCMonth(anchor.getUTCMonth() + months);
  const days = new Date(Date.UTC(moved.getUTCFullYear(), moved.getUTCMonth() + 1, 0)).getUTCDate();
  moved.setUTCDate(Math.min(anchor.getUTCDate(), days));
  return moved;
}
