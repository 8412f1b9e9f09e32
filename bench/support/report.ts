import type { Result } from './contest.js';

/** A goal and its measurement. */
export interface Verdict {
  what: string;
  measured: number;
  goal: { atLeast: number } | { atMost: number };
  unit?: string;
}

const missed: string[] = [];

export function heading(name: string, description: string): void {
  print(`\n${name}: ${description}`);
}

export function table(results: Result[]): void {
  const cells = [
    ['', 'per second', 'rate ratio', 'CPU us', 'CPU ratio', 'PostgreSQL us'],
    ...results.map((result) => [
      result.name,
      Math.round(result.perSecond).toLocaleString('en'),
      result.rateRatio.toFixed(2),
      result.cpu.toFixed(0),
      result.cpuRatio.toFixed(2),
      result.databaseCpu?.toFixed(0) ?? '-',
    ]),
  ];
  const widths = cells[0]!.map((_, column) => Math.max(...cells.map((row) => row[column]!.length)));
  for (const row of cells)
    print(`  ${row.map((cell, column) => (column === 0 ? cell.padEnd(widths[column]!) : cell.padStart(widths[column]!))).join('  ')}`);
}

export function verdict({ what, measured, goal, unit = '' }: Verdict): void {
  const [met, wanted] =
    'atLeast' in goal ? [measured >= goal.atLeast, `>= ${goal.atLeast}`] : [measured <= goal.atMost, `<= ${goal.atMost}`];
  if (!met) missed.push(what);
  print(`  ${met ? 'ok    ' : 'MISSED'}  ${what}: ${figure(measured)}${unit} (goal ${wanted}${unit})`);
}

export function note(text: string): void {
  print(`  ${text}`);
}

/** The last line of a run. */
export function conclusion(): void {
  print(missed.length === 0 ? '\nAll goals are met.' : `\nMissed: ${missed.join('; ')}.`);
}

function figure(value: number): string {
  return Math.abs(value) >= 100 ? value.toFixed(0) : value.toFixed(2);
}

function print(line: string): void {
  process.stdout.write(`${line}\n`);
}
