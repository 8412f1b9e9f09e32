import fc from 'fast-check';

/** How many histories run at the same time. */
const AT_A_TIME = 250;

let count = 0;
/** A prefix that no other history of the run has. */
export const newPrefix = () => `h${(count += 1)}`;

/**
 * Expects that none of the generated histories fails. They run together. One that fails is run again alone and made smaller, and is
 * reported with the seed and path that reproduce it: FC_SEED=… FC_PATH=….
 *
 * @param failures returns the failures by the index of the history
 */
export async function expectHistories<Choices>(
  arbitrary: fc.Arbitrary<Choices>,
  failures: (all: Choices[]) => Promise<Map<number, string>>,
  runs: number,
): Promise<void> {
  const property = fc.asyncProperty(arbitrary, async (choices) => {
    // Three times, because a race may need several runs.
    const [failure] = (await failures([choices, choices, choices])).values();
    if (failure !== undefined) throw new Error(failure);
  });
  const seed = Number(process.env['FC_SEED'] ?? (Date.now() ^ (Math.random() * 0x100000000)) | 0);
  const path = process.env['FC_PATH'];
  if (path !== undefined) {
    await fc.assert(property, { seed, path });
    return;
  }
  const all = fc.sample(property, { seed, numRuns: runs }).map(([choices]) => choices);
  for (let first = 0; first < all.length; first += AT_A_TIME) {
    const failed = await failures(all.slice(first, first + AT_A_TIME));
    for (const [index, failure] of failed) {
      const where = `FC_SEED=${seed} FC_PATH=${first + index} (${failed.size} of ${Math.min(AT_A_TIME, all.length - first)} histories)`;
      // Throws with the smallest failing history that it finds.
      await fc
        .assert(property, { seed, path: String(first + index), plugins: [fc.interruptAfterTimeLimit(60_000)] })
        .catch((error: unknown) => {
          throw new Error(`${where}\n${String(error)}\n\nAt first it was:\n${failure}`);
        });
      throw new Error(`${where}, which did not happen again:\n${failure}`);
    }
  }
}

/** The differences between two sets of rows. */
export function differences<Rows extends { [Kind in keyof Rows]: Record<string, object> }>(expected: Rows, found: Rows): string[] {
  const different: string[] = [];
  for (const kind of Object.keys(expected) as (keyof Rows & string)[]) {
    for (const id of new Set([...Object.keys(expected[kind]), ...Object.keys(found[kind])])) {
      const [one, other] = [expected[kind][id], found[kind][id]].map((row) => JSON.stringify(row) ?? 'not there');
      if (one !== other) different.push(`${kind} ${id}:\n    in order:  ${one}\n    otherwise: ${other}`);
    }
  }
  return different;
}

/** The rows with another prefix in all ids. */
export function withPrefix<Rows extends object>(rows: Rows, from: string, to: string): Rows {
  return JSON.parse(JSON.stringify(rows).replaceAll(new RegExp(`${from}(?=[_-])`, 'g'), to)) as Rows;
}

/** Interleaves the deliveries of a few histories at a time, so that different histories meet in the database. */
export function interleave<Message>(histories: Message[][], atATime = 3): Message[] {
  const all: Message[] = [];
  for (let first = 0; first < histories.length; first += atATime) {
    const some = histories.slice(first, first + atATime);
    const longest = Math.max(...some.map(({ length }) => length));
    for (let index = 0; index < longest; index += 1) all.push(...some.flatMap((deliveries) => deliveries.slice(index, index + 1)));
  }
  return all;
}
