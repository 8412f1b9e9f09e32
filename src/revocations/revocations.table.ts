import { bigint, pgTable, text, uuid } from 'drizzle-orm/pg-core';
import { createdAt, time } from '../platform/database/columns.js';

export const REVOCATION_KINDS = [
  'session',
  'api_key',
  'user',
  'user_suspension',
  'user_ban',
  'user_operator',
  'user_email',
  'account',
  'password',
  'membership',
  'membership_role',
  'organization',
  'invitation',
] as const;
export type RevocationKind = (typeof REVOCATION_KINDS)[number];

/** Revocations that are not in the journal yet. Only triggers write it, in the transaction of the change. */
export const revocations = pgTable('revocations', {
  id: bigint('id', { mode: 'bigint' }).primaryKey().generatedAlwaysAsIdentity(),
  kind: text('kind').notNull().$type<RevocationKind>(),
  /** The row that was revoked. */
  subjectId: uuid('subject_id').notNull(),
  /** The end of a key, the status of an invitation, or the SHA-256 of the hash of a replaced password. */
  details: text('details'),
  createdAt: createdAt(),
});

/** The journal that this database writes. A backup holds its position, and a replay begins behind it. */
export const revocationJournals = pgTable('revocation_journals', {
  id: uuid('id').primaryKey(),
  lastNumber: bigint('last_number', { mode: 'number' }).notNull(),
  writtenAt: time('written_at').notNull().defaultNow(),
});
