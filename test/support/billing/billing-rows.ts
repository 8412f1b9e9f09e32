import { type ProvidersWorld, type OwnerName, OWNERS } from '../providers-world.js';
import type { TestDatabase } from '../database.js';

/** The rows of one history by the providers' ids, without our own ids and write times. */
export interface BillingRows {
  subscriptions: Record<string, Record<string, unknown>>;
  customers: Record<string, Record<string, unknown>>;
  payments: Record<string, Record<string, unknown>>;
  /** By subscription and start. */
  periods: Record<string, Record<string, unknown>>;
  /** The number of stored messages. */
  messages: Record<'kept', { count: number }>;
}

/** The eight digits in an id. */
const MARK = /[0-9a-f]{8}(?=[-_])/;

/** Columns that hold our own ids, or depend on the path and not on the final state. */
const OWN_COLUMNS = ['id', 'created_at', 'updated_at', 'check_at', 'confirmed_at', 'end_requested_at', 'owner_id', 'owner_kind'];

/** Writes the owners that exist before the first event. */
export async function writeOwners(db: TestDatabase, worlds: ProvidersWorld[]): Promise<void> {
  const ids = (owner: OwnerName) => JSON.stringify(worlds.map((world) => ({ id: world.idOf(owner), name: owner })));
  for (const [table, owner] of [
    ['users', 'local user'],
    ['organizations', 'local organization'],
  ] as const)
    await db.rows(`INSERT INTO ${table} (id, name) SELECT * FROM jsonb_to_recordset($1) AS row (id uuid, name text)`, [ids(owner)]);
}

/** The current rows of these histories, by mark. */
export async function readBillingRows(db: TestDatabase, worlds: ProvidersWorld[]): Promise<Map<string, BillingRows>> {
  const all = new Map<string, BillingRows>(
    worlds.map(({ mark }) => [mark, { subscriptions: {}, customers: {}, payments: {}, periods: {}, messages: { kept: { count: 0 } } }]),
  );
  const names = await ownerNames(db, worlds);
  const renameClaim = (claim: string) => claim.replace(/(?<=:).*/, (id) => names.get(id) ?? id);
  const store = (kind: 'subscriptions' | 'customers' | 'payments', key: string, { row, ...more }: { row: Row }) => {
    const owner = row.owner_id === null ? null : (names.get(row.owner_id) ?? row.owner_id);
    const fields = Object.entries(row).filter(([column]) => !OWN_COLUMNS.includes(column));
    const mark = all.get(markIn(key));
    if (mark !== undefined)
      mark[kind][key] = { ...Object.fromEntries(fields), owner_claims: row.owner_claims.map(renameClaim), owner, ...more };
  };
  const subscriptions = await db.rows<{ row: Row; products: Record<string, string> | null }>(
    `SELECT to_jsonb(s) AS row, (SELECT jsonb_object_agg(p.product_id, p.event_at) FROM subscription_products p WHERE p.subscription_id = s.id) AS products
       FROM subscriptions s WHERE provider <> 'manual'`,
  );
  for (const one of subscriptions) store('subscriptions', one.row['provider_subscription_id'] as string, one);
  const customers = await db.rows<{ row: Row }>('SELECT to_jsonb(c) AS row FROM billing_customers c');
  for (const { row } of customers)
    store('customers', row['provider_customer_id'] as string, { row: { ...row, deleted_at: row['deleted_at'] !== null } });
  const payments = await db.rows<{ row: Row }>('SELECT to_jsonb(p) AS row FROM payments p');
  for (const one of payments) store('payments', `${one.row['kind'] as string} ${one.row['provider_payment_id'] as string}`, one);
  const periods = await db.rows<{ id: string; start: Date; row: Record<string, unknown> }>(
    `SELECT s.provider_subscription_id AS id, p.starts_at AS start, to_jsonb(p) - 'subscription_id' AS row
       FROM subscription_periods p JOIN subscriptions s ON s.id = p.subscription_id`,
  );
  for (const { id, start, row } of periods) {
    const rows = all.get(markIn(id));
    if (rows !== undefined) rows.periods[`${id} ${start.toISOString()}`] = row;
  }
  for (const { message_id } of await db.rows<{ message_id: string }>('SELECT message_id FROM webhook_events')) {
    const rows = all.get(markIn(message_id));
    if (rows !== undefined) rows.messages.kept.count += 1;
  }
  return all;
}

/** The mark of the history that an id belongs to. */
export function markIn(id: string): string {
  return MARK.exec(id)?.[0] ?? '';
}

type Row = Record<string, unknown> & { owner_id: string | null; owner_claims: string[] };

/** The owners of these histories by our ids and by Clerk's ids. */
export async function ownerNames(db: TestDatabase, worlds: ProvidersWorld[]): Promise<Map<string, OwnerName>> {
  const byId = new Map(worlds.flatMap((world) => OWNERS.map((owner) => [world.idOf(owner), owner] as const)));
  const rows = await db.rows<{ id: string; clerk_id: string }>(
    `SELECT id, clerk_user_id AS clerk_id FROM users WHERE clerk_user_id IS NOT NULL
      UNION ALL SELECT id, clerk_organization_id FROM organizations WHERE clerk_organization_id IS NOT NULL`,
  );
  return new Map([...byId, ...rows.flatMap(({ id, clerk_id }) => (byId.has(clerk_id) ? [[id, byId.get(clerk_id)!] as const] : []))]);
}
