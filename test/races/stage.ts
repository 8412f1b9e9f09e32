import type { VerificationService } from '../../src/verification/verification.service.js';
import { testEnvironment } from '../support/app.js';
import { CLERK_WEBHOOK_SECRET } from '../support/clerk/clerk-events.js';
import { createTestDatabase, type TestDatabase } from '../support/database.js';
import { PlanFile } from '../support/plan-file.js';
import { areDependent, type Effects, StatementEffects } from './effects.js';
import { explore, type Order, type Side } from './explore.js';
import type { Lane } from './lane.js';
import { type Answer, Process } from './process.js';
import { race } from './race.js';

/** Of the free plan, which every owner has. */
export const SEATS = 3;
const TOKENS = 100;

/** Operations only add rows to them, with ids of their own. */
const ADDED_TO = ['audit_log', 'outbox'];

export type Operation = (process: Process) => Promise<Answer>;

/** Two operations on rows that were made for one order. */
export interface Scene {
  operations: readonly [Operation, Operation];
  /** Every pair of answers that is right after some order. */
  outcomes: readonly string[];
  /** Returns the faults of the rows. */
  check(answers: readonly [Answer, Answer]): Promise<string[]>;
}

export interface Pair {
  name: string;
  /** Tables in which each operation touches rows of its own person alone, so that its statements do not notice those of the other. */
  apart?: readonly string[];
  /** Where there are too many orders: those that change so often from one operation to the other, unless a lock makes them. */
  switches?: number;
  prepare(stage: Stage): Promise<Scene>;
}

export interface Explored {
  /** The most statements of each operation. */
  statements: [number, number];
  orders: number;
}

/** Two processes of the application on one database. */
export class Stage {
  private readonly effects: StatementEffects;

  private constructor(
    readonly db: TestDatabase,
    readonly processes: readonly [Process, Process],
    private readonly plans: PlanFile,
  ) {
    this.effects = new StatementEffects(db);
  }

  /** @param build a folder like `dist` */
  static async open(build = 'dist'): Promise<Stage> {
    const db = await createTestDatabase();
    const plans = new PlanFile({ free: { seats: SEATS, tokensPerPeriod: TOKENS } });
    const environment = { ...testEnvironment(db.url), PLANS_FILE: plans.path, CLERK_WEBHOOK_SIGNING_SECRET: CLERK_WEBHOOK_SECRET };
    const processes = [await Process.start(build, environment), await Process.start(build, environment)] as const;
    return new Stage(db, processes, plans);
  }

  async close(): Promise<void> {
    for (const process of this.processes) await process.stop();
    await this.db.drop();
    this.plans.remove();
  }

  /** Runs a pair in every order. @throws {Error} with the first order after which something is wrong */
  async explore({ apart = [], switches, prepare }: Pair): Promise<Explored> {
    const most: [number, number] = [0, 0];
    const run = async (order: Order<Effects>) => {
      await this.runIn(order, [...apart, ...ADDED_TO], await prepare(this));
      for (const side of [0, 1] as const) most[side] = Math.max(most[side], order.steps.filter((step) => step.side === side).length);
    };
    const { orders } = await explore(run, areDependent, switches);
    return { statements: most, orders };
  }

  /** Returns the promises that the stored rows break after all orders. */
  async verify(): Promise<string[]> {
    const verification = await this.processes[0].service<VerificationService>(
      'verification/verification.service.js',
      'VerificationService',
    );
    const broken: string[] = [];
    const results = await verification.verify({ onViolation: (violation) => broken.push(JSON.stringify(violation)) });
    return [...broken, ...results.filter(({ outcome }) => outcome === 'failed').map(({ check, note }) => `${check}: ${note}`)];
  }

  private async runIn(order: Order<Effects>, apart: string[], { operations, outcomes, check }: Scene): Promise<void> {
    const start = (side: Side) => async (lane: Lane) => {
      const process = this.processes[side];
      process.lane = lane;
      return operations[side](process).finally(() => (process.lane = undefined));
    };
    const effects = async (text: string) => this.effects.of(text, apart);
    const answers = await race([start(0), start(1)], { db: this.db, effects, order });
    const wrong = answers.flatMap(({ undocumented }) => undocumented ?? []);
    const outcome = outcomeOf(answers);
    if (!outcomes.includes(outcome)) wrong.push(`the answers are ${outcome}`);
    wrong.push(...(await check(answers)));
    if (wrong.length > 0) throw new Error(`${wrong.join('; ')}, after this order:\n${describe(order)}`);
  }
}

/** The status of each answer, and the code of a problem. */
export function outcomeOf(answers: readonly [Answer, Answer]): string {
  return answers.map(({ status, body: { code } }) => [status, ...(code === undefined ? [] : [code])].join(' ')).join(', ');
}

function describe({ steps }: Order<Effects>): string {
  return steps.map(({ side, statement }) => `${'AB'[side]}  ${statement?.replaceAll(/\s+/g, ' ').slice(0, 160)}`).join('\n');
}
