/** The time that one token allowance covers: `start` inclusive, `end` exclusive. */
export interface UsagePeriod {
  start: Date;
  end: Date;
  /** The next period started before this one's planned end. */
  isCut?: boolean;
}

/**
 * Returns the UTC month, counted from an anchor, that contains a moment. An anchor on the 29th to 31st starts shorter
 * months on their last day. Moments before the anchor are counted backwards.
 */
export function monthAt(anchor: Date, at: Date): UsagePeriod {
  const months = (at.getUTCFullYear() - anchor.getUTCFullYear()) * 12 + at.getUTCMonth() - anchor.getUTCMonth();
  const first = addMonths(anchor, months) <= at ? months : months - 1;
  return { start: addMonths(anchor, first), end: addMonths(anchor, first + 1) };
}

/** Counts from the anchor, not month by month: February would lose the 31st for good. */
export function addMonths(anchor: Date, months: number): Date {
  const moved = new Date(anchor);
  moved.setUTCDate(1);
  moved.setUTCMonth(anchor.getUTCMonth() + months);
  const days = new Date(Date.UTC(moved.getUTCFullYear(), moved.getUTCMonth() + 1, 0)).getUTCDate();
  moved.setUTCDate(Math.min(anchor.getUTCDate(), days));
  return moved;
}
