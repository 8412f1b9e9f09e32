import type { BetterAuthOptions, DBAdapter } from 'better-auth';
import { drizzleAdapter } from 'better-auth/adapters/drizzle';
import { accounts } from '../../accounts/accounts.table.js';
import { verifications } from '../../accounts/verifications.table.js';
import type { Database, Queryable } from '../../platform/database/database.js';
import { sessions } from '../../sessions/sessions.table.js';
import { users } from '../../users/users.table.js';
import { translateFailures, withTranslatedFailures } from './database-failures.js';
import { type Operations, withStoredRows } from './stored-rows.js';
import { type AdapterServices, SignInRules, withSignInRules } from './sign-in-rules.js';

/** Better Auth's Drizzle adapter with our rules for stored rows, transactions and failures (see auth/README.md). */
export function createAdapter(db: Database, services: AdapterServices) {
  return (options: BetterAuthOptions): DBAdapter => {
    const rowsOf = (connection: Queryable): { library: DBAdapter; rows: Operations } => {
      const config = { provider: 'pg', schema: { users, sessions, accounts, verifications }, transaction: true } as const;
      const library = drizzleAdapter(connection, config)(options);
      return { library, rows: withStoredRows(withTranslatedFailures(library), services.providerTokens) };
    };
    const transaction: DBAdapter['transaction'] = (work) =>
      translateFailures(() =>
        db.transaction((tx) => {
          const { library, rows } = rowsOf(tx);
          const inside = adapterOf(library, withSignInRules(rows, new SignInRules(rows, services, tx)), (nested) => nested(inside));
          return work(inside);
        }),
      );
    const { library, rows } = rowsOf(db);
    return adapterOf(library, withTransactions(rows, transaction), transaction);
  };
}

/** Spreads the library's adapter, so that a test notices an operation that is new in the library. */
function adapterOf(library: DBAdapter, operations: Operations, transaction: DBAdapter['transaction']): DBAdapter {
  return { ...library, ...(operations as Omit<DBAdapter, 'transaction'>), transaction };
}

/** Runs the writes with rules in a transaction, also where Better Auth opens none. */
function withTransactions(rows: Operations, transaction: DBAdapter['transaction']): Operations {
  const run = <T>(work: (operations: Operations) => Promise<T>) => transaction((inside) => work(inside as Operations));
  return {
    ...rows,
    create: (query) => run((inside) => inside.create(query)),
    update: (query) => run((inside) => inside.update(query)),
    updateMany: (query) => run((inside) => inside.updateMany(query)),
    delete: (query) => run((inside) => inside.delete(query)),
    deleteMany: (query) => run((inside) => inside.deleteMany(query)),
    consumeOne: (query) => run((inside) => inside.consumeOne(query)),
  };
}
