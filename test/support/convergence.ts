import fc from 'fast-check';

/** How many histories are told at the same time. */
const AT_A_TIME = 250;

let count = 0;
/** No two histories of a run share an id. */
export const newPrefix = () => `h${(count += 1)}`;

/**
 * Holds if none of the generated histories fails. They are told together; one that fails is made smaller, alone,
 * and told with the seed and path that bring it back: FC_SEED=… FC_PATH=….
 *
 * @param failures says which of them fail, and how, by their place
 */
export async function expectAll<Choices>(
  arbitrary: fc.Arbitrary<Choices>,
  failures: (all: Choices[]) => Promise<Map<number, string>>,
  runs: number,
): Promise<void> {
  const property = fc.asyncProperty(arbitrary, async (choices) => {
    // Three times: a race may need a few.
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
      // Throws with the smallest history that it finds.
      await fc
        .assert(property, { seed, path: String(first + index), plugins: [fc.interruptAfterTimeLimit(60_000)] })
        .catch((error: unknown) => {
          throw new Error(`${where}\n${String(error)}\n\nAt first it was:\n${failure}`);
        });
      throw new Error(`${where}, which did not happen again:\n${failure}`);
    }
  }
}

/** Where two sets of rows are not the same. */
export function differences<Rows extends { [Kind in keyof Rows]: Record<string, object> }>(wanted: Rows, found: Rows): string[] {
  const different: string[] = [];
  for (const kind of Object.keys(wanted) as (keyof Rows & string)[]) {
    for (const id of new Set([...Object.keys(wanted[kind]), ...Object.keys(found[kind])])) {
      const [one, other] = [wanted[kind][id], found[kind][id]].map((row) => JSON.stringify(row) ?? 'not there');
      if (one !== other) different.push(`${kind} ${id}:\n    in order:  ${one}\n    otherwise: ${other}`);
    }
  }
  return different;
}

/** The rows as they would be if the history had another prefix. */
export function withPrefix<Rows extends object>(rows: Rows, from: string, to: string): Rows {
  return JSON.parse(JSON.stringify(rows).replaceAll(new RegExp(`${from}(?=[_-])`, 'g'), to)) as Rows;
}

/** Mixes what is delivered of several histories, few at a time: what belongs together must meet, and not only with itself. */
export function mixed<Message>(histories: Message[][], atATime = 3): Message[] {
  const all: Message[] = [];
  for (let first = 0; first < histories.length; first += atATime) {
    const some = histories.slice(first, first + atATime);
    const longest = Math.max(...some.map(({ length }) => length));
    for (let index = 0; index < longest; index += 1) all.push(...some.flatMap((deliveries) => deliveries.slice(index, index + 1)));
  }
  return all;
}
