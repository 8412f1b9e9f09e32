import type pg from 'pg';
import { tokenHashOf } from './seed.js';

/** A fixed id of the nth row of a table. */
const id = (table: number, n: string | number) =>
  `('00000000-0000-7000-8${String(table).padStart(3, '0')}-' || lpad((${n})::text, 12, '0'))::uuid`;
const [USER, ORGANIZATION, OTHER] = [0, 100, 200];
const name = (n: string) => `(ARRAY['Anna', 'Bruno', 'Carla', 'Dmitri', 'Edda'])[1 + ${n} % 5] || ' Family' || ${n}`;
const minutesAgo = (n: string) => `now() - (${n}) * interval '1 minute'`;

/** Rows of many tenants, of which one has a large part. */
export interface Sizes {
  users: number;
  organizations: number;
  /** Members of the large organization. */
  members: number;
}

export function sizesOf(users: number): Sizes {
  return { users, organizations: Math.ceil(users / 5), members: Math.min(50_000, Math.floor(users * 0.4)) };
}

/** Whose admin is the nth user with the number 0. */
export const LARGE_ORGANIZATION = '00000000-0000-7000-8100-000000000000';
/** An operator, a member of 2,000 organizations. */
export const BUSY_USER = '00000000-0000-7000-8000-000000000000';
export const WEBHOOK_EVENT = '00000000-0000-7000-8200-000000000005';

/** Fills a migrated, empty database. Nothing is written durably, and no trigger runs. */
export async function fillLargeTables(client: pg.Client, sizes: Sizes): Promise<void> {
  await client.query(
    `SET session_replication_role = replica; SET synchronous_commit = off; SET maintenance_work_mem = '512MB'; SET work_mem = '256MB'`,
  );
  for (const text of [...peopleOf(sizes), ...eventsOf(sizes), ...usageOf(sizes)]) await client.query(text);
  await client.query('VACUUM (ANALYZE)');
}

function peopleOf({ users, organizations, members }: Sizes): string[] {
  return [
    `INSERT INTO users (id, clerk_user_id, email, email_verified, email_verified_at, name, username, operator, created_at)
     SELECT ${id(USER, 'n')}, CASE WHEN n % 10 = 9 THEN 'clerk_' || n END, 'person' || n || '@example.com', true, now(),
            ${name('n')}, 'person' || n, n = 0, ${minutesAgo('n')} FROM generate_series(0, ${users - 1}) n`,
    `INSERT INTO accounts (id, user_id, provider, provider_account_id) SELECT id, id, 'credential', id FROM users`,
    `INSERT INTO organizations (id, name, slug, created_at)
     SELECT ${id(ORGANIZATION, 'n')}, 'Organization ' || n, 'organization-' || n, ${minutesAgo('n')} FROM generate_series(0, ${organizations - 1}) n`,
    // The large one, those of the busy user, and two of each other user.
    `INSERT INTO organization_memberships (id, organization_id, user_id, role, user_name, user_words, deleted_at, created_at)
     SELECT gen_random_uuid(), ${id(ORGANIZATION, 'o')}, ${id(USER, 'u')}, (CASE WHEN u % 1000 = 0 THEN 'admin' ELSE 'member' END)::membership_role,
            ${name('u')}, CASE WHEN is_live THEN words_in_organization(${id(ORGANIZATION, 'o')}, words_of_user(${name('u')}, 'person' || u, 'person' || u || '@example.com')) END,
            CASE WHEN is_live THEN NULL ELSE now() END, ${minutesAgo('u + o')}
       FROM (SELECT 0 AS o, u, true AS is_live FROM generate_series(0, ${members - 1}) u
             UNION ALL SELECT 0, u, false FROM generate_series(0, ${members - 1}, 5) u
             UNION ALL SELECT o, 0, true FROM generate_series(1, ${Math.min(2000, organizations - 1)}) o
             UNION ALL SELECT 1 + (u * 3 + k * 97) % ${organizations - 1}, u, true FROM generate_series(1, ${users - 1}) u, generate_series(1, 2) k) m`,
    `UPDATE organizations o SET member_count = m.members
       FROM (SELECT organization_id, count(*) AS members FROM organization_memberships WHERE deleted_at IS NULL GROUP BY 1) m
      WHERE m.organization_id = o.id`,
    `INSERT INTO sessions (id, user_id, token, expires_at, created_at)
     SELECT ${id(OTHER, 'n')}, ${id(USER, `CASE WHEN n < 1000 THEN 0 ELSE n % ${users} END`)}, md5(n::text),
            now() + (CASE WHEN n % 2 = 0 THEN 7 ELSE -7 END) * interval '1 day', ${minutesAgo('n')} FROM generate_series(1, ${3 * users}) n
     UNION ALL SELECT ${id(OTHER, 0)}, '${BUSY_USER}', '${tokenHashOf(0)}', now() + interval '7 days', now()`,
    `INSERT INTO invitations (id, organization_id, email, role, expires_at, status, created_at)
     SELECT gen_random_uuid(), ${id(ORGANIZATION, `CASE WHEN n % 5 = 0 THEN 0 ELSE n % ${organizations} END`)},
            CASE WHEN n % 1000 = 1 THEN 'person0@example.com' ELSE 'invited' || n || '@example.com' END, 'member', now() + interval '7 days',
            (CASE WHEN n % 1000 < 3 THEN 'pending' WHEN n % 10007 = 4 THEN 'declined' WHEN n % 3 = 0 THEN 'revoked' WHEN n % 3 = 1 THEN 'expired' ELSE 'accepted' END)::invitation_status,
            ${minutesAgo('n')} FROM generate_series(0, ${users - 1}) n ON CONFLICT DO NOTHING`,
    `INSERT INTO api_keys (id, organization_id, created_by, name, prefix, hash, scopes, created_at)
     SELECT gen_random_uuid(), ${id(ORGANIZATION, `CASE WHEN n < 1000 THEN 0 ELSE n % ${organizations} END`)}, '${BUSY_USER}', 'Key ' || n, 'tk_' || n, md5(n::text), '{}', ${minutesAgo('n')}
       FROM generate_series(0, ${Math.floor(users * 0.3)}) n`,
  ];
}

function eventsOf({ users, organizations, members }: Sizes): string[] {
  const kinds = ['member', 'invitation', 'api_key', 'organization', 'session', 'subscription'];
  return [
    `INSERT INTO audit_log (id, organization_id, actor_kind, actor_id, action, target_type, target_id, created_at)
     SELECT gen_random_uuid(), CASE WHEN n % 10 = 0 OR n < ${members} THEN '${LARGE_ORGANIZATION}'::uuid ELSE ${id(ORGANIZATION, `n % ${organizations}`)} END, 'user',
            ${id(USER, `CASE WHEN n % 3 = 0 THEN 0 ELSE n % ${users} END`)},
            CASE WHEN n % 100000 = 10 THEN 'organization.transferred' ELSE (ARRAY['${kinds.join("', '")}'])[1 + n % 6] || '.updated' END,
            (ARRAY['${kinds.join("', '")}'])[1 + n % 6], ${id(USER, `n % ${users}`)}, now() - n * interval '6 seconds'
       FROM generate_series(0, ${5 * users - 1}) n`,
    `INSERT INTO subscriptions (id, provider, provider_subscription_id, provider_customer_id, owner_kind, owner_id, product_id, tier, status, created_at)
     SELECT ${id(OTHER, 'n')}, provider, CASE WHEN provider <> 'manual' THEN 'sub_' || n END, CASE WHEN provider <> 'manual' THEN 'cus_' || n END,
            (CASE WHEN n % 1000 <> 7 THEN 'organization' END)::owner_kind, CASE WHEN n % 1000 <> 7 THEN ${id(ORGANIZATION, `n % ${organizations}`)} END, 'prod_pro',
            (CASE WHEN provider = 'manual' THEN 'pro' END)::tier,
            (CASE WHEN n % 10007 = 5 THEN 'unpaid' WHEN n % 50 = 3 THEN 'past_due' WHEN n % 3 = 0 THEN 'canceled' ELSE 'active' END)::subscription_status, ${minutesAgo('n')}
       FROM (SELECT n, (CASE WHEN n % 1000 = 1 THEN 'manual' WHEN n % 3 = 0 THEN 'dodo' ELSE 'polar' END)::billing_provider AS provider FROM generate_series(0, ${Math.floor(users / 2)}) n) s`,
    `INSERT INTO payments (id, provider, kind, provider_payment_id, provider_customer_id, provider_subscription_id, of_provider_payment_id, owner_kind, owner_id, amount, currency, status, state, occurred_at)
     SELECT gen_random_uuid(), CASE WHEN s % 3 = 0 THEN 'dodo' ELSE 'polar' END::billing_provider, kind::payment_kind, kind || n, 'cus_' || s, 'sub_' || s,
            CASE WHEN kind <> 'payment' THEN 'payment' || n END, 'organization', ${id(ORGANIZATION, `s % ${organizations}`)}, CASE WHEN kind = 'refund' AND n % 2 = 0 THEN 500 ELSE 1000 END, 'USD',
            status::payment_status, status, ${minutesAgo('n')}
       FROM (SELECT *, CASE kind WHEN 'payment' THEN CASE WHEN n % 97 = 5 THEN 'partially_refunded' WHEN n % 13 = 4 THEN 'failed' ELSE 'succeeded' END
                                 WHEN 'refund' THEN 'succeeded' ELSE CASE WHEN n % 2 = 0 THEN 'lost' ELSE 'pending' END END AS status
       FROM (SELECT n, CASE WHEN n < ${Math.min(20_000, members)} THEN 0 ELSE n % ${Math.floor(users / 2)} END AS s, kind
               FROM generate_series(0, ${Math.floor(1.5 * users)}) n, LATERAL (SELECT 'payment' UNION ALL SELECT 'refund' WHERE n % 97 = 5 UNION ALL SELECT 'dispute' WHERE n % 997 = 6) k (kind)) p) p`,
    `UPDATE payments SET state = payment_state(payments) WHERE kind = 'payment' AND (status = 'partially_refunded' OR provider_payment_id IN (SELECT of_provider_payment_id FROM payments))`,
    `INSERT INTO webhook_events (id, provider, message_id, type, status, received_at, processed_at)
     SELECT ${id(OTHER, 'n')}, CASE WHEN n % 3 = 0 THEN 'polar' ELSE 'clerk' END, 'msg_' || n,
            CASE WHEN n % 100000 = 5 THEN 'organization.deleted' WHEN n % 3 = 0 THEN 'order.updated' ELSE 'user.updated' END,
            (CASE WHEN n % 10007 = 6 THEN 'dead' WHEN n % 1009 = 7 THEN 'quarantined' WHEN n % 5 = 0 THEN 'ignored' WHEN n < 500 THEN 'pending' ELSE 'processed' END)::webhook_event_status,
            now() - n * interval '10 seconds', CASE WHEN n >= 500 THEN now() END FROM generate_series(0, ${2 * users - 1}) n`,
    `INSERT INTO outbox (id, kind, payload, attempts, next_attempt_at, done_at, created_at)
     SELECT gen_random_uuid(), 'mail', '{}', 1, CASE WHEN n % 1000 = 0 THEN now() + interval '1 day' END, CASE WHEN n % 1000 > 1 THEN now() END, ${minutesAgo('n')}
       FROM generate_series(0, ${Math.floor(users / 5)}) n`,
    `INSERT INTO job_runs (id, job, tick, holder, leased_until, started_at, finished_at, count)
     SELECT gen_random_uuid(), 'expire_sessions', ${minutesAgo('n')}, gen_random_uuid(), now(), ${minutesAgo('n')}, ${minutesAgo('n')}, 0
       FROM generate_series(1, ${Math.floor(users / 10)}) n`,
  ];
}

function usageOf({ users, organizations, members }: Sizes): string[] {
  const events = 5 * users;
  return [
    `SELECT create_usage_partition(month::date) FROM generate_series(date_trunc('month', now()) - interval '12 months', date_trunc('month', now()), '1 month') month
      WHERE to_regclass('usage_' || to_char(month, 'YYYY_MM')) IS NULL`,
    `INSERT INTO usage (owner_id, occurred_at, event_id, owner_kind, actor_user_id, model, input_tokens, output_tokens, tokens_used, period_start)
     SELECT ${id(ORGANIZATION, `CASE WHEN n % 10 = 0 OR n < ${2 * members} THEN 0 ELSE n % ${organizations} END`)}, moment, n, 'organization',
            ${id(USER, `CASE WHEN n % 100000 = 0 THEN 7 ELSE n % 20 * 7919 % 20 * 10 END`)}, CASE WHEN n % 50000 = 0 THEN 'rare-model' ELSE 'model-' || n % 4 END,
            n % 1000, n % 300, n % 1000 + n % 300, date_trunc('month', moment)
       FROM (SELECT n, now() - n::float8 / ${events} * interval '365 days' AS moment FROM generate_series(0, ${events - 1}) n) e`,
    `INSERT INTO usage_rollups (owner_id, hour, model, actor_user_id, events, input_tokens, output_tokens, tokens_used)
     SELECT owner_id, date_trunc('hour', occurred_at, 'UTC'), model, actor_user_id, count(*), sum(input_tokens), sum(output_tokens), sum(tokens_used)
       FROM usage GROUP BY 1, 2, 3, 4`,
    `INSERT INTO usage_quotas (owner_id, period_start, period_end, owner_kind, used)
     SELECT owner_id, period_start, period_start + interval '1 month', owner_kind, sum(tokens_used) FROM usage GROUP BY owner_id, period_start, owner_kind`,
    `INSERT INTO usage_alerts (owner_id, period_start, threshold, owner_kind, used, "limit")
     SELECT '${LARGE_ORGANIZATION}', date_trunc('month', now()) - n * interval '1 month', threshold, 'organization', 1, 1
       FROM generate_series(0, 200) n, unnest('{50, 80, 100}'::smallint[]) threshold`,
    `INSERT INTO meter_exports (provider, owner_id, event_id, provider_customer_id, occurred_at, values, tokens_used, next_attempt_at, created_at)
     SELECT 'polar', ${id(ORGANIZATION, `n % ${organizations}`)}, n, 'cus_' || n, now(), '{"model": "model-1", "input_tokens": 1, "output_tokens": 1, "cached_input_tokens": 0, "reasoning_tokens": 0}', 2,
            CASE WHEN n % 50 <> 0 THEN now() + interval '1 day' END, ${minutesAgo('n')} FROM generate_series(0, ${Math.floor(users / 10)}) n`,
    `INSERT INTO prices (model, token_class, effective_from, micros_per_million, currency)
     SELECT 'model-' || model, class::token_class, date_trunc('month', now(), 'UTC') - month * interval '1 month', 2500000, 'USD'
       FROM generate_series(0, 99) model, unnest('{input,output,total}'::text[]) class, generate_series(0, 23) month`,
  ];
}
