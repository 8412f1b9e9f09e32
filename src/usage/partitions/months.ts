/** A UTC month, counted from year 0. */
export type Month = number;

export function monthOf(moment: Date): Month {
  return moment.getUTCFullYear() * 12 + moment.getUTCMonth();
}

export function startOf(month: Month): Date {
  return new Date(Date.UTC(Math.floor(month / 12), month % 12));
}

export function partitionOf(month: Month): string {
  return `usage_${startOf(month).toISOString().slice(0, 7).replace('-', '_')}`;
}

export function monthOfPartition(name: string): Month {
  const [, year, month] = name.split('_').map(Number);
  return year! * 12 + month! - 1;
}
