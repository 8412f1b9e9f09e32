import { drizzle } from 'drizzle-orm/node-postgres';
import { newId } from '../../src/platform/crypto/ids.js';
import { Keyring } from '../../src/platform/crypto/keyring.service.js';
import { loadConfig } from '../../src/platform/config/config.js';
import { BODY_CONTEXT } from '../../src/webhooks/inbox.worker.js';
import { webhookEvents } from '../../src/webhooks/webhook-events.table.js';
import { testEnvironment } from '../support/app.js';
import type { Seed } from '../support/seeds.js';

const KEYRING = new Keyring(loadConfig(testEnvironment('postgres://localhost/none')));

/** An ignored event, which can be replayed without an effect. */
export const seed: Seed = async (db, { member }) => {
  const id = newId();
  const type = 'waitlistEntry.created';
  const body = Buffer.from(JSON.stringify({ object: 'event', type, data: { object: 'waitlist_entry', id, email_address: member.email } }));
  await drizzle(db.pool)
    .insert(webhookEvents)
    .values({ id, provider: 'clerk', messageId: `msg_${id}`, type, body: KEYRING.encryptBytes(body, BODY_CONTEXT), status: 'ignored' });
  return { values: { webhookEventId: id }, secrets: [id] };
};
