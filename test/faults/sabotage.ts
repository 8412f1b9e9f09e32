import { v7 } from 'uuid';
import { hashSessionToken } from '../../src/access/credentials/session-tokens.js';
import { PASSWORD } from '../support/people.js';
import type { Books } from './traffic/books.js';
import type { Client } from './traffic/client.js';
import type { Sabotage } from './options.js';
import { CAP, type Stage } from './stage/stage.js';
import type { Person } from './traffic/traffic.js';

export interface SabotageTarget {
  stage: Stage;
  books: Books;
  client: Client;
  person: Person;
}

/** Does what the program must never do, after the traffic. */
export async function sabotage(kind: Sabotage, { stage, books, client, person }: SabotageTarget): Promise<void> {
  const { db } = stage;
  const [organizationId, events] = [...books.usage].find(([, { size }]) => size > 1)!;
  const eventId = [...events.keys()][kind === 'lost-write' ? 0 : 1];
  const name = [...books.organizations.keys()].at(-1)!;
  const damages: Record<Sabotage, () => Promise<unknown>> = {
    'lost-write': async () => {
      await db.rows('DELETE FROM usage WHERE owner_id = $1 AND event_id = $2', [organizationId, eventId]);
      await db.rows('DELETE FROM usage_event_ids WHERE owner_id = $1 AND event_id = $2', [organizationId, eventId]);
    },
    'double-count': () =>
      db.rows(
        `INSERT INTO usage SELECT (jsonb_populate_record(u, jsonb_build_object('occurred_at', u.occurred_at + interval '1 millisecond'))).*
           FROM usage u WHERE owner_id = $1 AND event_id = $2`,
        [organizationId, eventId],
      ),
    'revived-session': async () => {
      const token = await signInAndOut(client, person);
      books.revokedSessions.add(token);
      await db.rows(
        `INSERT INTO sessions (id, user_id, token, expires_at) SELECT $1, id, $2, '2100-01-01' FROM users WHERE clerk_user_id IS NULL LIMIT 1`,
        [v7(), hashSessionToken(decodeURIComponent(token).split('.')[0]!)],
      );
    },
    'passed-cap': async () => {
      // As if another process had not seen the used tokens.
      for (let used = 0; used <= CAP; used += 2000) {
        await db.rows('UPDATE usage_quotas SET used = 0 WHERE owner_id = $1', [organizationId]);
        const event = { eventId: `passed-${used}`, model: 'm', inputTokens: 2000 };
        const request = { operation: 'recordUsage', path: { organizationId }, headers: person.headers, body: event };
        const answer = await client.untilAnswered(request);
        if (answer!.status < 300) books.noteUsage(organizationId, event.eventId, event.inputTokens);
      }
    },
    'two-effects': () => db.rows('INSERT INTO organizations (id, name) VALUES ($1, $2)', [v7(), name]),
  };
  await damages[kind]();
}

/** Returns the token of a session that has ended: a short run need not have one. */
async function signInAndOut(client: Client, { email }: Person): Promise<string> {
  const answer = await client.untilAnswered({ operation: 'signIn', headers: {}, body: { email, password: PASSWORD } });
  const token = answer!.headers.get('set-auth-token')!;
  await client.untilAnswered({ operation: 'signOut', headers: { authorization: `Bearer ${token}` } });
  return token;
}
