/** One of two operations. */
export type Side = 0 | 1;

interface Step<Effects> {
  /** The operations that could send their next statement. */
  ready: Side[];
  side: Side;
  statement?: string;
  effects?: Effects;
  /** The step whose statement ended this one's wait for a lock. */
  wokenBy?: number;
  /** The statement that went here in an earlier order. It stays behind until something depends on it. */
  asleep?: { side: Side; effects: Effects };
  /** Whether the other operation must go here in another order. */
  isRaced: boolean;
}

/** Decides one order of the statements of two operations. The caller asks before each statement and reports it. */
export class Order<Effects> {
  /** Whether another order that was explored differs only in statements that do not notice each other. */
  isRepeated = false;
  private position = 0;

  constructor(
    readonly steps: Step<Effects>[],
    private readonly areDependent: (one: Effects, other: Effects) => boolean,
  ) {}

  /** Returns which of the operations that are ready goes next. */
  next(ready: Side[]): Side {
    const planned = this.steps[this.position];
    if (planned !== undefined) {
      if (!ready.includes(planned.side)) throw new Error('An operation did not repeat what it did before in the same order');
      return planned.side;
    }
    const before = this.steps.at(-1);
    const asleep = before?.asleep && !this.areDependent(before.asleep.effects, before.effects!) ? before.asleep : undefined;
    const awake = ready.filter((side) => side !== asleep?.side);
    this.isRepeated ||= awake.length === 0;
    if (this.isRepeated) return ready[0]!;
    const side = before !== undefined && awake.includes(before.side) ? before.side : awake[0]!;
    this.steps.push({ ready, side, asleep, isRaced: false });
    return side;
  }

  /** Reports the statement of the operation that went, before its result is known. */
  sent(statement: string, effects: Effects): void {
    if (this.isRepeated) return;
    const step = this.steps[this.position]!;
    if ((step.statement ?? statement) !== statement)
      throw new Error(`In the same order, an operation sent "${statement}" instead of "${step.statement}"`);
    Object.assign(step, { statement, effects });
    this.position += 1;
  }

  /** Reports that the last statement of an operation, which waited for a lock, has gone on because of the newest statement. */
  woken(side: Side): void {
    if (this.isRepeated) return;
    this.steps.findLast((step) => step.side === side)!.wokenBy = this.position - 1;
  }
}

/**
 * Runs two operations in every order of their statements, each once: orders that differ only in neighbours which do not
 * depend on each other count as one (dynamic partial-order reduction with sleep sets, Flanagan and Godefroid 2005).
 *
 * @param run must do the same again in the same order; its errors end the exploration
 * @param switches leaves out orders that change more often from one operation to the other than this, and than they must
 * @returns the number of different orders, and of runs
 */
export async function explore<Effects>(
  run: (order: Order<Effects>) => Promise<void>,
  areDependent: (one: Effects, other: Effects) => boolean,
  switches = Infinity,
): Promise<{ orders: number; runs: number }> {
  let planned: Step<Effects>[] | undefined = [];
  let [orders, runs] = [0, 0];
  while (planned !== undefined) {
    const order: Order<Effects> = new Order(planned, areDependent);
    await run(order);
    runs += 1;
    if (!order.isRepeated) orders += 1;
    markRaces(order.steps, areDependent);
    planned = nextPlan(order.steps, switches);
  }
  return { orders, runs };
}

/** Finds, for each statement, the last one of the other operation that it could have preceded with another result. */
function markRaces<Effects>(steps: Step<Effects>[], areDependent: (one: Effects, other: Effects) => boolean): void {
  /** For each operation, the last step of the other that must precede its next one. */
  const known: [number, number] = [-1, -1];
  const wokenBy: [number, number] = [-1, -1];
  for (const [index, { side, effects, wokenBy: waker }] of steps.entries()) {
    known[side] = Math.max(known[side], wokenBy[side]);
    const last = steps.findLastIndex((one, at) => at < index && one.side !== side && areDependent(one.effects!, effects!));
    if (last > known[side]) steps[last]!.isRaced = true;
    known[side] = Math.max(known[side], last);
    if (waker !== undefined) wokenBy[side] = waker;
  }
}

/** The steps up to the last one where the other operation must go, with that operation in its place. */
function nextPlan<Effects>(steps: Step<Effects>[], switches: number): Step<Effects>[] | undefined {
  for (let last = steps.length - 1; last >= 0; last -= 1) {
    const { ready, side, effects, asleep, isRaced } = steps[last]!;
    if (!isRaced || ready.length < 2 || (asleep !== undefined && asleep.side !== side)) continue;
    const plan = [...steps.slice(0, last), { ready, side: otherThan(side), asleep: { side, effects: effects! }, isRaced: false }];
    const chosen = plan.filter((step, at) => at > 0 && step.ready.length === 2 && step.side !== plan[at - 1]!.side);
    if (chosen.length <= switches) return plan;
  }
  return undefined;
}

const otherThan = (side: Side): Side => (side === 0 ? 1 : 0);
