import fc from 'fast-check';
import { v7 } from 'uuid';
import type { TestDatabase } from '../database.js';
import { ledgerMismatches } from './ledger-checks.js';

/** The hard caps of the plans in `usage-ledger.proof-spec.ts`. */
export const FREE_CAP = 100;
export const PRO_CAP = 150;

const HOUR_MS = 3_600_000;
/** Few ids, so that they repeat; more for settling events, so that most are new. */
const EVENT_IDS = [...'abcdef'];
const SETTLING_IDS = [...'abuvwxyz'];
/** Ages before now: this hour, another hour, other periods and months, too old, and in the future. */
const AGES_MS = [0, 0, 2 * HOUR_MS, 20 * 24 * HOUR_MS, 50 * 24 * HOUR_MS, 500 * 24 * HOUR_MS, -4 * 60_000, -10 * 60_000];
/** Attempts of a request after its server was killed. */
const TRIES = 40;

interface GivenEvent {
  id: string;
  tokens: number;
  ageMs: number;
}
/** `back` counts from the owner's latest hold. */
type Step = { owner: 0 | 1 } & (
  | { kind: 'record'; event: GivenEvent }
  | { kind: 'batch'; events: GivenEvent[] }
  | { kind: 'hold'; isRepeated: boolean; tokens: number }
  | { kind: 'settle'; back: number; event: GivenEvent }
  | { kind: 'release' | 'expire'; back: number }
  | { kind: 'buy' | 'end' }
);
/** The steps of a round run concurrently on all servers. */
export type History = Step[][];

export function historyArbitrary(): fc.Arbitrary<History> {
  const eventOf = (ids: string[]) =>
    fc.record({ id: fc.constantFrom(...ids), tokens: fc.constantFrom(0, 1, 5, 20, 60, 120), ageMs: fc.constantFrom(...AGES_MS) });
  const [event, settling] = [eventOf(EVENT_IDS), eventOf(SETTLING_IDS)];
  const owner = fc.constantFrom(0 as const, 1 as const);
  const back = fc.constantFrom(0, 0, 1, 2);
  const hold = fc.record({
    owner,
    kind: fc.constant('hold' as const),
    isRepeated: fc.boolean(),
    tokens: fc.constantFrom(0, 10, 10, 30, 60, 140),
  });
  const step: fc.Arbitrary<Step> = fc.oneof(
    { weight: 4, arbitrary: fc.record({ owner, kind: fc.constant('record' as const), event }) },
    {
      weight: 3,
      arbitrary: fc.record({ owner, kind: fc.constant('batch' as const), events: fc.array(event, { minLength: 1, maxLength: 6 }) }),
    },
    { weight: 4, arbitrary: hold },
    { weight: 4, arbitrary: fc.record({ owner, kind: fc.constant('settle' as const), back, event: settling }) },
    { weight: 2, arbitrary: fc.record({ owner, kind: fc.constantFrom('release' as const, 'expire' as const), back }) },
    { weight: 1, arbitrary: fc.record({ owner, kind: fc.constantFrom('buy' as const, 'end' as const) }) },
  );
  return fc.array(fc.array(step, { minLength: 1, maxLength: 8 }), { minLength: 1, maxLength: 10 });
}

/** Servers on one database, a user with every permission, and an operator. */
export interface UsageTarget {
  db: TestDatabase;
  urls: () => string[];
  admin: { id: string; auth: { authorization: string } };
  operator: { auth: { authorization: string } };
}

interface Answer {
  status: number;
  body: {
    id?: string;
    outcome?: string;
    code?: string;
    held?: number;
    remaining?: number;
    results?: { outcome: string; reason?: string }[];
  };
  /** Whether an earlier attempt may have had its effect, because its server was killed. */
  isRepeated: boolean;
}

/** What the API answered about a sent event. */
interface RecordedResponse {
  eventId: string;
  tokens: number;
  occurredAt: string;
  outcome: string;
  isRepeated: boolean;
}

/** Runs one history with two organizations, and records every response. */
class HistoryRun {
  private readonly begin = Date.now();
  private readonly owners = [0, 1].map(() => ({
    id: v7(),
    holds: [] as string[],
    responses: [] as RecordedResponse[],
    grants: [] as string[],
  }));
  private readonly failures: string[] = [];
  private readonly log: string[] = [];
  private turn = 0;

  constructor(private readonly target: UsageTarget) {}

  async run(history: History): Promise<void> {
    const ids = this.owners.map(({ id }) => id);
    await this.target.db.rows(
      `INSERT INTO organizations (id, name, created_at) SELECT id, 'Some', now() - interval '3 days' FROM unnest($1::uuid[]) AS id`,
      [ids],
    );
    await this.target.db.rows(
      `INSERT INTO organization_memberships (id, organization_id, user_id, role) SELECT gen_random_uuid(), id, $2, 'admin' FROM unnest($1::uuid[]) AS id`,
      [ids, this.target.admin.id],
    );
    for (const round of history) {
      this.log.push('--');
      await Promise.all(round.map(async (step) => this.play(step)));
    }
  }

  /** The differences from the expected state after the last step. */
  async failure(mismatches: string[]): Promise<string | undefined> {
    for (const owner of this.owners) {
      this.failures.push(...mismatches.filter((mismatch) => mismatch.includes(owner.id)));
      await this.compareEvents(owner);
      await this.compareRemaining(owner);
    }
    return this.failures.length === 0 ? undefined : [...this.failures, ...this.log].join('\n');
  }

  private async play(step: Step): Promise<void> {
    const owner = this.owners[step.owner]!;
    switch (step.kind) {
      case 'record':
        return this.responses(owner, [step.event], await this.post(owner.id, '', this.eventOf(step.event)));
      case 'batch':
        return this.responses(
          owner,
          step.events,
          await this.post(owner.id, '/batch', { events: step.events.map((event) => this.eventOf(event)) }),
        );
      case 'settle':
        return this.responses(
          owner,
          [step.event],
          await this.post(owner.id, `/holds/${holdOf(owner, step)}/settle`, this.eventOf(step.event)),
        );
      case 'hold':
        if (!step.isRepeated || owner.holds.length === 0) owner.holds.push(v7());
        await this.post(owner.id, '/holds', { holdId: owner.holds.at(-1), estimatedTokens: step.tokens, expiresInSeconds: 86_400 });
        return;
      case 'release':
        await this.post(owner.id, `/holds/${holdOf(owner, step)}`, undefined, 'DELETE');
        return;
      case 'expire':
        // Writing the time is enough: nothing here waits for it.
        await this.target.db.rows(`UPDATE usage_holds SET expires_at = '2026-01-01' WHERE id = $1`, [holdOf(owner, step)]);
        return;
      case 'buy': {
        const { body } = await this.send('/v1/subscriptions', { organizationId: owner.id, tier: 'pro' }, this.target.operator);
        if (body.id !== undefined) owner.grants.push(body.id);
        return;
      }
      case 'end':
        await this.send(`/v1/subscriptions/${owner.grants.at(-1) ?? v7()}`, undefined, this.target.operator, 'DELETE');
    }
  }

  private eventOf({ id, tokens, ageMs }: GivenEvent) {
    return { eventId: id, model: `model ${tokens}`, tokens, occurredAt: new Date(this.begin - ageMs).toISOString() };
  }

  private responses(owner: { responses: RecordedResponse[] }, events: GivenEvent[], { body, isRepeated }: Answer): void {
    const outcomes = body.results?.map(({ outcome }) => outcome) ?? [body.outcome ?? body.code!];
    for (const [index, event] of events.entries()) owner.responses.push({ ...this.eventOf(event), outcome: outcomes[index]!, isRepeated });
  }

  private async post(ownerId: string, path: string, body: object | undefined, method = 'POST'): Promise<Answer> {
    return this.send(`/v1/organizations/${ownerId}/usage${path}`, body, this.target.admin, method);
  }

  /** Retries at the next server, as clients do, when a server was killed. */
  private async send(path: string, body: object | undefined, { auth }: { auth: object }, method = 'POST'): Promise<Answer> {
    for (let attempt = 1; ; attempt += 1) {
      const urls = this.target.urls();
      const url = urls[(this.turn += 1) % urls.length]!;
      try {
        const headers = { ...auth, 'content-type': 'application/json' };
        const answer = await fetch(`${url}${path}`, { method, headers, ...(body !== undefined && { body: JSON.stringify(body) }) });
        const text = await answer.text();
        const responses = (text === '' ? {} : JSON.parse(text)) as Answer['body'];
        this.log.push(`${method} ${path} ${JSON.stringify(body)} ${answer.status} ${responses.code ?? text}`);
        if (answer.status >= 500) this.failures.push(`${answer.status} ${text}`);
        return { status: answer.status, body: responses, isRepeated: attempt > 1 };
      } catch (error) {
        if (attempt === TRIES) throw error;
        await new Promise((resolve) => setTimeout(resolve, 50));
      }
    }
  }

  /** An event that was answered `inserted` is stored once as sent, and no other event is stored. */
  private async compareEvents({ id, responses }: { id: string; responses: RecordedResponse[] }): Promise<void> {
    const rows = await this.target.db.rows<{ event_id: string; tokens: number; occurred_at: Date }>(
      'SELECT event_id, tokens_used::int AS tokens, occurred_at FROM usage WHERE owner_id = $1',
      [id],
    );
    const contentOf = (event: { tokens: number; occurredAt: string }) => `${event.tokens} ${event.occurredAt}`;
    const stored = new Map(rows.map((row) => [row.event_id, contentOf({ tokens: row.tokens, occurredAt: row.occurred_at.toISOString() })]));
    for (const eventId of new Set([...stored.keys(), ...responses.map((one) => one.eventId)])) {
      const content = stored.get(eventId);
      const ofEvent = responses.filter((one) => one.eventId === eventId);
      const inserted = ofEvent.filter(({ outcome }) => outcome === 'inserted');
      const isInsertedOnce =
        inserted.length === 1 ||
        (inserted.length === 0 && ofEvent.some(({ isRepeated, outcome }) => isRepeated && outcome === 'duplicate'));
      const isRight =
        content === undefined
          ? ofEvent.every(({ outcome }) => !['inserted', 'duplicate', 'conflict', 'usage_conflict'].includes(outcome))
          : isInsertedOnce && ofEvent.every((one) => !['inserted', 'duplicate'].includes(one.outcome) || contentOf(one) === content);
      if (!isRight) this.failures.push(`Event ${eventId} of ${id} is there as ${content}, and was told as ${JSON.stringify(ofEvent)}`);
    }
  }

  /** After all holds have expired, exactly the remaining tokens can be used. */
  private async compareRemaining({ id }: { id: string }): Promise<void> {
    await this.target.db.rows(`UPDATE usage_holds SET expires_at = '2026-01-01' WHERE owner_id = $1`, [id]);
    const quota = await this.post(id, '/quota', undefined, 'GET');
    const remaining = quota.body.remaining!;
    const tooMany = await this.post(id, '', { eventId: 'too many', model: 'm', tokens: remaining + 1 });
    const justRight = await this.post(id, '', { eventId: 'just right', model: 'm', tokens: remaining });
    const statuses = [quota.body.held, tooMany.status, justRight.status];
    // The server that recorded it may be killed.
    if (statuses.join() !== (justRight.isRepeated && justRight.status === 200 ? '0,402,200' : '0,402,201'))
      this.failures.push(`In the end of ${id}: ${statuses.join()} with ${remaining} left`);
  }
}

/** An unknown id when there are not that many holds. */
function holdOf({ holds }: { holds: string[] }, { back }: { back: number }): string {
  return holds.at(-1 - back) ?? v7();
}

/** The histories that end wrong, each with its differences. */
export async function failuresOf(target: UsageTarget, histories: History[]): Promise<Map<number, string>> {
  const runs = histories.map(() => new HistoryRun(target));
  await Promise.all(runs.map(async (run, index) => run.run(histories[index]!)));
  const mismatches = await ledgerMismatches(target.db);
  const failures = await Promise.all(runs.map(async (run) => run.failure(mismatches)));
  return new Map(failures.flatMap((failure, index) => (failure === undefined ? [] : [[index, failure] as const])));
}

/** From now on a trigger rejects every quota past its cap. */
export async function watchCaps(db: TestDatabase): Promise<void> {
  await db.rows(`
    CREATE FUNCTION watch_caps() RETURNS trigger LANGUAGE plpgsql AS $$
    DECLARE cap bigint := CASE WHEN EXISTS (SELECT FROM subscriptions WHERE owner_id = NEW.owner_id) THEN ${PRO_CAP} ELSE ${FREE_CAP} END;
    BEGIN
      IF NEW.used - NEW.overrun + NEW.held > cap OR least(NEW.used, NEW.overrun, NEW.held) < 0 THEN RAISE 'past the cap: %', NEW; END IF;
      RETURN NEW;
    END $$`);
  await db.rows('CREATE TRIGGER watch_caps BEFORE UPDATE ON usage_quotas FOR EACH ROW EXECUTE FUNCTION watch_caps()');
}
