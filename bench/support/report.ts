import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { options } from './options.js';
import type { Comparison, Result } from './contest.js';

type Bound = { atLeast: number } | { atMost: number };

/** A goal and its measurement; `what` names the unit, if there is one. */
export interface Verdict {
  what: string;
  measured: number;
  goal?: Bound;
  /** The bound that `--ci` checks instead: one that a busy machine keeps too. */
  ci?: Bound;
  /** The results behind a ratio: ours, and the one that it is compared with. */
  costs?: [Result, Result];
}

/** An entry of `bench/results.json`. */
interface Outcome {
  bench: string;
  what: string;
  measured: number;
  goal: string;
  met: boolean;
  /** CPU per operation in microseconds, of our process and the one it is compared with, and that of PostgreSQL. */
  cpu?: { ours: number; others: number; oursInPostgres?: number; othersInPostgres?: number };
}

const RESULTS = new URL('../results.json', import.meta.url);
const outcomes: Outcome[] = [];
const comparisons: (Comparison & { bench: string })[] = [];
let bench = '';

export function heading(name: string, description: string): void {
  bench = name;
  print(`\n${name}: ${description}`);
}

export function table(results: Result[]): void {
  printTable([
    ['', 'per second', 'rate ratio', 'CPU us', 'CPU ratio', 'PostgreSQL us'],
    ...results.map((result) => [
      result.name,
      Math.round(result.perSecond).toLocaleString('en'),
      result.rateRatio.toFixed(2),
      result.cpu.toFixed(0),
      result.cpuRatio.toFixed(2),
      result.databaseCpu?.toFixed(0) ?? '-',
    ]),
  ]);
}

export function verdict({ what, measured, goal, ci, costs }: Verdict): void {
  const bound = options.ci ? ci : goal;
  if (bound === undefined) return note(`${what}: ${figure(measured)}`);
  const met = 'atLeast' in bound ? measured >= bound.atLeast : measured <= bound.atMost;
  const wanted = 'atLeast' in bound ? `>= ${bound.atLeast}` : `<= ${bound.atMost}`;
  outcomes.push({ bench, what, measured: Number(measured.toPrecision(4)), goal: wanted, met, ...(costs && { cpu: cpuOf(costs) }) });
  print(`  ${met ? 'ok    ' : 'MISSED'}  ${what}: ${figure(measured)} (goal ${wanted})`);
}

/** A result of the other build, in the same rounds. */
export function comparison(one: Comparison): void {
  comparisons.push({ bench, ...one });
}

export function note(text: string): void {
  print(`  ${text}`);
}

/** Prints all goals, or all comparisons, and keeps the goals in `bench/results.json`. Returns whether all goals are met. */
export function conclude(): boolean {
  print('');
  if (options.compare !== undefined) {
    printTable([
      ['bench', `÷ ${options.compare}`, 'rate', 'CPU', 'CPU us', 'before', 'PostgreSQL us', 'before'],
      ...comparisons.map(({ bench: of, name, rate, cpu, now, before }) => [
        of,
        name,
        rate.toFixed(2),
        cpu.toFixed(2),
        now.cpu.toFixed(0),
        before.cpu.toFixed(0),
        now.databaseCpu?.toFixed(0) ?? '-',
        before.databaseCpu?.toFixed(0) ?? '-',
      ]),
    ]);
    return true;
  }
  printTable([['bench', 'what', 'measured', 'goal', ''], ...outcomes.map(rowOf)]);
  const missed = outcomes.filter(({ met }) => !met).length;
  print(`\n${outcomes.length - missed} goals met, ${missed} missed`);
  if (!options.ci) keep();
  return missed === 0;
}

/** Prints the kept results as the table of `docs/benchmarks.md`, the benches in the given order. */
export function printMarkdown(order: string[]): void {
  const header = ['bench', 'what', 'measured', 'goal', '', 'CPU us', 'PostgreSQL us'];
  const sorted = keptResults().toSorted((a, b) => order.indexOf(a.bench) - order.indexOf(b.bench));
  const rows = sorted.map((outcome) => {
    const { cpu } = outcome;
    const pair = (ours?: number, others?: number) => (ours === undefined || others === undefined ? '' : `${ours} / ${others}`);
    const [name, ...cells] = rowOf(outcome);
    return [`\`${name}\``, ...cells, pair(cpu?.ours, cpu?.others), pair(cpu?.oursInPostgres, cpu?.othersInPostgres)];
  });
  for (const row of [header, header.map(() => '---'), ...rows]) print(`| ${row.join(' | ')} |`);
}

/** A run of some benches replaces their results and leaves the others. */
function keep(): void {
  const measured = new Set(outcomes.map((outcome) => outcome.bench));
  const kept = keptResults().filter((outcome) => !measured.has(outcome.bench));
  writeFileSync(RESULTS, `${JSON.stringify([...kept, ...outcomes], null, 2)}\n`);
}

function keptResults(): Outcome[] {
  return existsSync(RESULTS) ? (JSON.parse(readFileSync(RESULTS, 'utf8')) as Outcome[]) : [];
}

function cpuOf([ours, others]: [Result, Result]): Outcome['cpu'] {
  return {
    ours: Math.round(ours.cpu),
    others: Math.round(others.cpu),
    ...(ours.databaseCpu !== undefined && { oursInPostgres: Math.round(ours.databaseCpu) }),
    ...(others.databaseCpu !== undefined && { othersInPostgres: Math.round(others.databaseCpu) }),
  };
}

function rowOf({ bench: of, what, measured, goal, met }: Outcome): string[] {
  return [of, what, figure(measured), goal, met ? 'met' : 'missed'];
}

/** The first two columns are text. */
function printTable(cells: string[][]): void {
  const widths = cells[0]!.map((_, column) => Math.max(...cells.map((row) => row[column]!.length)));
  for (const row of cells)
    print(`  ${row.map((cell, column) => (column < 2 ? cell.padEnd(widths[column]!) : cell.padStart(widths[column]!))).join('  ')}`);
}

function figure(value: number): string {
  if (Number.isInteger(value)) return value.toLocaleString('en');
  return Math.abs(value) >= 100 ? Math.round(value).toLocaleString('en') : value.toFixed(2);
}

function print(line: string): void {
  process.stdout.write(`${line.trimEnd()}\n`);
}
