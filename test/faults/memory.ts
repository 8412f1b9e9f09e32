import { execFileSync } from 'node:child_process';
import type { Stage } from './stage/stage.js';

/** Several times what a process needs; a leak in a short run stays below it, so long runs compare their thirds too. */
const LARGEST_MB = 700;
const GROWTH = 1.2;

/** The memory of the largest process, once a second. */
export class Memory {
  private readonly samples: number[] = [];
  private readonly timer = setInterval(() => this.measure(), 1000).unref();

  constructor(private readonly stage: Stage) {}

  stop(): void {
    clearInterval(this.timer);
  }

  /** At most, and the medians of the thirds. */
  get summary(): string {
    return `at most ${this.largest} MB a process, in its thirds ${this.thirds.join(', ')} MB`;
  }

  findings(minutes: number): string[] {
    const found = this.largest > LARGEST_MB ? [`a process took ${this.largest} MB`] : [];
    const [, second, last] = this.thirds;
    if (minutes >= 9 && last! > second! * GROWTH) found.push(`memory grew from ${second} to ${last} MB`);
    return found;
  }

  private get largest(): number {
    return this.samples.reduce((most, one) => Math.max(most, one), 0);
  }

  private get thirds(): number[] {
    const third = Math.max(1, Math.floor(this.samples.length / 3));
    return [0, third, 2 * third].map((from) => median(this.samples.slice(from, from + third)));
  }

  private measure(): void {
    const pids = this.stage.processes.filter((one) => !one.hasEnded()).map(({ pid }) => String(pid));
    if (pids.length === 0) return;
    try {
      const lines = execFileSync('ps', ['-o', 'rss=', '-p', pids.join(',')], { encoding: 'utf8' })
        .trim()
        .split('\n');
      this.samples.push(Math.round(Math.max(...lines.map(Number)) / 1024));
    } catch {
      // Every process has just ended.
    }
  }
}

function median(numbers: number[]): number {
  return numbers.toSorted((a, b) => a - b)[Math.floor(numbers.length / 2)] ?? 0;
}
