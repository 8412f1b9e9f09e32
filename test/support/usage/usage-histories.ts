import fc from 'fast-check';
import { v7 } from 'uuid';
import type { TestDatabase } from '../database.js';
import { mistakesIn } from './usage-books.js';

/** Of the plans that `usage-ledger.proof-spec.ts` starts its servers with; both are hard. */
export const FREE_CAP = 100;
export const PRO_CAP = 150;

const HOUR_MS = 3_600_000;
/** Few, so that they come again; more for what settles holds, so that most are not known yet. */
const EVENT_IDS = [...'abcdef'];
const SETTLING_IDS = [...'abuvwxyz'];
/** Before now: in this hour, in another one, in other periods and months, too old, and ahead. */
const AGES_MS = [0, 0, 2 * HOUR_MS, 20 * 24 * HOUR_MS, 50 * 24 * HOUR_MS, 500 * 24 * HOUR_MS, -4 * 60_000, -10 * 60_000];
/** Of a request whose server was killed. */
const TRIES = 40;

interface GivenEvent {
  id: string;
  tokens: number;
  ageMs: number;
}
/** `back`: of the owner's latest holds. */
type Step = { owner: 0 | 1 } & (
  | { kind: 'record'; event: GivenEvent }
  | { kind: 'batch'; events: GivenEvent[] }
  | { kind: 'hold'; isRepeated: boolean; tokens: number }
  | { kind: 'settle'; back: number; event: GivenEvent }
  | { kind: 'release' | 'expire'; back: number }
  | { kind: 'buy' | 'end' }
);
/** The steps of a round go out at once, to all servers. */
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

/** Servers over one database, whoever may do everything there, and an operator. */
export interface Place {
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
  /** Whether an attempt before it may have had its effect: its server was killed. */
  isRepeated: boolean;
}

/** What a caller was told of an event that was sent. */
interface Told {
  eventId: string;
  tokens: number;
  occurredAt: string;
  outcome: string;
  isRepeated: boolean;
}

/** One history as it happens: two organizations, and all that callers were told. */
class Telling {
  private readonly begin = Date.now();
  private readonly owners = [0, 1].map(() => ({
    id: v7(),
    holds: [] as string[],
    told: [] as Told[],
    grants: [] as string[],
  }));
  private readonly wrong: string[] = [];
  private readonly log: string[] = [];
  private turn = 0;

  constructor(private readonly place: Place) {}

  async run(history: History): Promise<void> {
    const ids = this.owners.map(({ id }) => id);
    await this.place.db.rows(
      `INSERT INTO organizations (id, name, created_at) SELECT id, 'Some', now() - interval '3 days' FROM unnest($1::uuid[]) AS id`,
      [ids],
    );
    await this.place.db.rows(
      `INSERT INTO organization_memberships (id, organization_id, user_id, role) SELECT gen_random_uuid(), id, $2, 'admin' FROM unnest($1::uuid[]) AS id`,
      [ids, this.place.admin.id],
    );
    for (const round of history) {
      this.log.push('--');
      await Promise.all(round.map(async (step) => this.take(step)));
    }
  }

  /** What is not as it must be now that nothing happens any more. */
  async failure(mistakes: string[]): Promise<string | undefined> {
    for (const owner of this.owners) {
      this.wrong.push(...mistakes.filter((mistake) => mistake.includes(owner.id)));
      await this.compareEvents(owner);
      await this.compareRest(owner);
    }
    return this.wrong.length === 0 ? undefined : [...this.wrong, ...this.log].join('\n');
  }

  private async take(step: Step): Promise<void> {
    const owner = this.owners[step.owner]!;
    switch (step.kind) {
      case 'record':
        return this.told(owner, [step.event], await this.post(owner.id, '', this.eventOf(step.event)));
      case 'batch':
        return this.told(
          owner,
          step.events,
          await this.post(owner.id, '/batch', { events: step.events.map((event) => this.eventOf(event)) }),
        );
      case 'settle':
        return this.told(owner, [step.event], await this.post(owner.id, `/holds/${holdOf(owner, step)}/settle`, this.eventOf(step.event)));
      case 'hold':
        if (!step.isRepeated || owner.holds.length === 0) owner.holds.push(v7());
        await this.post(owner.id, '/holds', { holdId: owner.holds.at(-1), estimatedTokens: step.tokens, expiresInSeconds: 86_400 });
        return;
      case 'release':
        await this.post(owner.id, `/holds/${holdOf(owner, step)}`, undefined, 'DELETE');
        return;
      case 'expire':
        // Its time is over as soon as it is so written: nobody waits here.
        await this.place.db.rows(`UPDATE usage_holds SET expires_at = '2026-01-01' WHERE id = $1`, [holdOf(owner, step)]);
        return;
      case 'buy': {
        const { body } = await this.send('/v1/subscriptions', { organizationId: owner.id, tier: 'pro' }, this.place.operator);
        if (body.id !== undefined) owner.grants.push(body.id);
        return;
      }
      case 'end':
        await this.send(`/v1/subscriptions/${owner.grants.at(-1) ?? v7()}`, undefined, this.place.operator, 'DELETE');
    }
  }

  private eventOf({ id, tokens, ageMs }: GivenEvent) {
    return { eventId: id, model: `model ${tokens}`, tokens, occurredAt: new Date(this.begin - ageMs).toISOString() };
  }

  private told(owner: { told: Told[] }, events: GivenEvent[], { body, isRepeated }: Answer): void {
    const outcomes = body.results?.map(({ outcome }) => outcome) ?? [body.outcome ?? body.code!];
    for (const [index, event] of events.entries()) owner.told.push({ ...this.eventOf(event), outcome: outcomes[index]!, isRepeated });
  }

  private async post(ownerId: string, path: string, body: object | undefined, method = 'POST'): Promise<Answer> {
    return this.send(`/v1/organizations/${ownerId}/usage${path}`, body, this.place.admin, method);
  }

  /** Again at the next server, as callers do, where one was killed. */
  private async send(path: string, body: object | undefined, { auth }: { auth: object }, method = 'POST'): Promise<Answer> {
    for (let attempt = 1; ; attempt += 1) {
      const urls = this.place.urls();
      const url = urls[(this.turn += 1) % urls.length]!;
      try {
        const headers = { ...auth, 'content-type': 'application/json' };
        const answer = await fetch(`${url}${path}`, { method, headers, ...(body !== undefined && { body: JSON.stringify(body) }) });
        const text = await answer.text();
        const told = (text === '' ? {} : JSON.parse(text)) as Answer['body'];
        this.log.push(`${method} ${path} ${JSON.stringify(body)} ${answer.status} ${told.code ?? text}`);
        if (answer.status >= 500) this.wrong.push(`${answer.status} ${text}`);
        return { status: answer.status, body: told, isRepeated: attempt > 1 };
      } catch (error) {
        if (attempt === TRIES) throw error;
        await new Promise((resolve) => setTimeout(resolve, 50));
      }
    }
  }

  /** What was answered `inserted` is there once, as it was sent; and nothing is there that was not. */
  private async compareEvents({ id, told }: { id: string; told: Told[] }): Promise<void> {
    const rows = await this.place.db.rows<{ event_id: string; tokens: number; occurred_at: Date }>(
      'SELECT event_id, tokens_used::int AS tokens, occurred_at FROM usage WHERE owner_id = $1',
      [id],
    );
    const contentOf = (event: { tokens: number; occurredAt: string }) => `${event.tokens} ${event.occurredAt}`;
    const there = new Map(rows.map((row) => [row.event_id, contentOf({ tokens: row.tokens, occurredAt: row.occurred_at.toISOString() })]));
    for (const eventId of new Set([...there.keys(), ...told.map((one) => one.eventId)])) {
      const content = there.get(eventId);
      const ofIt = told.filter((one) => one.eventId === eventId);
      const inserted = ofIt.filter(({ outcome }) => outcome === 'inserted');
      const isOurs =
        inserted.length === 1 || (inserted.length === 0 && ofIt.some(({ isRepeated, outcome }) => isRepeated && outcome === 'duplicate'));
      const isRight =
        content === undefined
          ? ofIt.every(({ outcome }) => !['inserted', 'duplicate', 'conflict', 'usage_conflict'].includes(outcome))
          : isOurs && ofIt.every((one) => !['inserted', 'duplicate'].includes(one.outcome) || contentOf(one) === content);
      if (!isRight) this.wrong.push(`Event ${eventId} of ${id} is there as ${content}, and was told as ${JSON.stringify(ofIt)}`);
    }
  }

  /** When all holds are past their time, what is left can be used, and no token more. */
  private async compareRest({ id }: { id: string }): Promise<void> {
    await this.place.db.rows(`UPDATE usage_holds SET expires_at = '2026-01-01' WHERE owner_id = $1`, [id]);
    const quota = await this.post(id, '/quota', undefined, 'GET');
    const rest = quota.body.remaining!;
    const tooMany = await this.post(id, '', { eventId: 'too many', model: 'm', tokens: rest + 1 });
    const justRight = await this.post(id, '', { eventId: 'just right', model: 'm', tokens: rest });
    const statuses = [quota.body.held, tooMany.status, justRight.status];
    // The server may be killed that has just recorded it.
    if (statuses.join() !== (justRight.isRepeated && justRight.status === 200 ? '0,402,200' : '0,402,201'))
      this.wrong.push(`In the end of ${id}: ${statuses.join()} with ${rest} left`);
  }
}

/** One that is none where there are not so many. */
function holdOf({ holds }: { holds: string[] }, { back }: { back: number }): string {
  return holds.at(-1 - back) ?? v7();
}

/** Which of these histories come to something wrong, and how. */
export async function failuresOf(place: Place, histories: History[]): Promise<Map<number, string>> {
  const tellings = histories.map(() => new Telling(place));
  await Promise.all(tellings.map(async (telling, index) => telling.run(histories[index]!)));
  const mistakes = await mistakesIn(place.db);
  const failures = await Promise.all(tellings.map(async (telling) => telling.failure(mistakes)));
  return new Map(failures.flatMap((failure, index) => (failure === undefined ? [] : [[index, failure] as const])));
}

/** From now on the database itself refuses what is past a cap, at any moment: what nobody may ever see. */
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
