import fc from 'fast-check';
import { explore, type Order, type Side } from './explore.js';

/** A statement of a small database: reads or writes a variable, or commits, which publishes the writes. */
type Statement = { kind: 'read' | 'write'; name: string } | { kind: 'commit' };

interface Effects {
  reads: string[];
  locks: string[];
  publishes: string[];
}

const shares = (one: string[], other: string[]) => one.some((name) => other.includes(name));
const notices = (one: Effects, other: Effects) => shares(one.publishes, [...other.reads, ...other.locks]) || shares(one.locks, other.locks);
const areDependent = (one: Effects, other: Effects) => notices(one, other) || notices(other, one);

/** Two transactions in which a write locks its variable until the commit, and a read sees committed values or its own. */
class Machine {
  readonly seen: [string[], string[]] = [[], []];
  private readonly done: [number, number] = [0, 0];
  private readonly isWaiting: [boolean, boolean] = [false, false];
  private readonly committed = new Map<string, string>();
  private readonly written: [Map<string, string>, Map<string, string>] = [new Map(), new Map()];

  constructor(private readonly programs: [Statement[], Statement[]]) {}

  ready(): Side[] {
    return ([0, 1] as const).filter((side) => !this.isWaiting[side] && this.done[side] < this.programs[side].length);
  }

  send(side: Side): Effects {
    const statement = this.programs[side][this.done[side]]!;
    const written = this.written[side];
    if (statement.kind === 'commit') {
      const names = [...written.keys()];
      for (const [name, value] of written) this.committed.set(name, value);
      written.clear();
      this.done[side] += 1;
      return { reads: [], locks: names, publishes: names };
    }
    const { kind, name } = statement;
    if (kind === 'read') this.seen[side].push(written.get(name) ?? this.committed.get(name) ?? 'nothing');
    else if (this.written[other(side)].has(name)) this.isWaiting[side] = true;
    else this.write(side, name);
    if (!this.isWaiting[side]) this.done[side] += 1;
    return kind === 'read' ? { reads: [name], locks: [], publishes: [] } : { reads: [], locks: [name], publishes: [] };
  }

  /** Returns the operation that has gone on because its lock is free now. */
  wake(): Side | undefined {
    const side = ([0, 1] as const).find((one) => this.isWaiting[one]);
    if (side === undefined) return undefined;
    const { name } = this.programs[side][this.done[side]] as { name: string };
    if (this.written[other(side)].has(name)) return undefined;
    this.isWaiting[side] = false;
    this.write(side, name);
    this.done[side] += 1;
    return side;
  }

  result(): string {
    return JSON.stringify([this.seen, [...this.committed].toSorted()]);
  }

  private write(side: Side, name: string): void {
    // Shows what the write has seen, as `SET x = x + 1` does.
    this.written[side].set(name, `${this.committed.get(name) ?? ''}${side}${this.done[side]}`);
  }
}

const other = (side: Side): Side => (side === 0 ? 1 : 0);

async function resultsOf(
  programs: [Statement[], Statement[]],
  dependent: typeof areDependent,
): Promise<{ orders: number; results: string[] }> {
  const results: string[] = [];
  const { orders } = await explore<Effects>(async (order: Order<Effects>) => {
    const machine = new Machine(programs);
    for (let ready = machine.ready(); ready.length > 0; ready = machine.ready()) {
      const side = order.next(ready);
      order.sent('', machine.send(side));
      const woken = machine.wake();
      if (woken !== undefined) order.woken(woken);
    }
    results.push(machine.result());
  }, dependent);
  return { orders, results: results.toSorted() };
}

const program = (names: string[]) =>
  fc
    .array(fc.record({ kind: fc.constantFrom('read' as const, 'write' as const), name: fc.constantFrom(...names) }), { maxLength: 4 })
    // Locks are taken in one order, so that nothing waits for good.
    .map((statements): Statement[] => {
      const writes = statements.filter(({ kind }) => kind === 'write').toSorted((a, b) => (a.name < b.name ? -1 : 1));
      let next = 0;
      return [...statements.map((one) => (one.kind === 'write' ? writes[next++]! : one)), { kind: 'commit' }];
    });

describe('the explorer', () => {
  it('runs statements that all depend on each other in every order, once', async () => {
    const reads = (count: number) => Array.from({ length: count }, (): Statement => ({ kind: 'read', name: 'x' }));
    expect((await resultsOf([reads(4), reads(3)], () => true)).orders).toBe(35);
    expect((await resultsOf([reads(1), reads(6)], () => true)).orders).toBe(7);
  });

  it('runs statements that do not depend on each other in one order', async () => {
    const reads = Array.from({ length: 5 }, (): Statement => ({ kind: 'read', name: 'x' }));
    expect((await resultsOf([reads, reads], areDependent)).orders).toBe(1);
  });

  it('finds every result that some order has', async () => {
    await fc.assert(
      fc.asyncProperty(program(['x', 'y']), program(['x', 'y']), async (one, two) => {
        const every = await resultsOf([one, two], () => true);
        const reduced = await resultsOf([one, two], areDependent);
        expect(new Set(reduced.results)).toEqual(new Set(every.results));
        expect(reduced.orders).toBeLessThanOrEqual(every.orders);
      }),
      { numRuns: 400 },
    );
  });

  it('refuses an operation that does not repeat itself', async () => {
    let runs = 0;
    const run = async (order: Order<boolean>) => {
      runs += 1;
      for (const ready of [[0, 1], [0, 1], [1]] as Side[][]) order.sent(String(runs), ready.includes(order.next(ready)));
    };
    await expect(explore(run, () => true)).rejects.toThrow('instead of');
  });
});
