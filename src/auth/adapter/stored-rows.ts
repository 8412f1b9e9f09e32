import type { Where } from 'better-auth';
import { hashSessionToken } from '../../access/credentials/session-tokens.js';
import type { ProviderTokens } from '../../accounts/provider-tokens.service.js';
import { isId } from '../../platform/crypto/ids.js';

export type Row = Record<string, unknown>;

interface Query {
  model: string;
  where: Where[];
}

type OpenQuery = Partial<Query> & { model: string };

/** The operations of Better Auth's adapter, without their type parameters. */
export interface Operations {
  create(query: { model: string; data: Row }): Promise<Row>;
  findOne(query: Query): Promise<Row | null>;
  findMany(query: OpenQuery): Promise<Row[]>;
  count(query: OpenQuery): Promise<number>;
  update(query: Query & { update: Row }): Promise<Row | null>;
  updateMany(query: Query & { update: Row }): Promise<number>;
  delete(query: Query): Promise<void>;
  deleteMany(query: Query): Promise<number>;
  consumeOne(query: Query): Promise<Row | null>;
  incrementOne(query: Query & { increment: Record<string, number>; set?: Row }): Promise<Row | null>;
}

/**
 * Translates between rows as Better Auth knows them and rows as they are stored: session tokens are hashed, provider
 * tokens are encrypted, verifications name their user, and deleted users do not exist.
 */
export function withStoredRows(inner: Operations, providerTokens: ProviderTokens): Operations {
  const store = (model: string, data: Row): Row => storedRow(model, data, providerTokens);
  const load = (model: string, row: Row | null, tokens: RawTokens) => loadedRow(model, row, tokens, providerTokens);
  return {
    create: async (query) => {
      const row = await inner.create({ ...query, data: store(query.model, query.data) });
      return load(query.model, row, new RawTokens().add(query.data['token']))!;
    },
    findOne: async (query) => {
      const tokens = new RawTokens();
      return load(query.model, await inner.findOne(tokens.hashIn(query)), tokens);
    },
    findMany: async (query) => {
      const tokens = new RawTokens();
      const rows = await inner.findMany(tokens.hashIn(query));
      return rows.map((row) => load(query.model, row, tokens)).filter((row) => row !== null);
    },
    count: (query) => inner.count(new RawTokens().hashIn(query)),
    update: async (query) => {
      const tokens = new RawTokens();
      const row = await inner.update(tokens.hashIn({ ...query, update: store(query.model, query.update) }));
      return load(query.model, row, tokens);
    },
    updateMany: (query) => inner.updateMany(new RawTokens().hashIn({ ...query, update: store(query.model, query.update) })),
    delete: (query) => inner.delete(new RawTokens().hashIn(query)),
    deleteMany: (query) => inner.deleteMany(new RawTokens().hashIn(query)),
    consumeOne: async (query) => {
      const tokens = new RawTokens();
      return load(query.model, await inner.consumeOne(tokens.hashIn(query)), tokens);
    },
    incrementOne: async (query) => {
      const tokens = new RawTokens();
      const row = await inner.incrementOne(tokens.hashIn({ ...query, set: query.set && store(query.model, query.set) }));
      return load(query.model, row, tokens);
    },
  };
}

/** The session tokens of one query. The stored hash cannot be reversed, so they are put back into the rows from here. */
class RawTokens {
  private readonly byHash = new Map<string, string>();

  add(token: unknown): this {
    if (typeof token === 'string') this.byHash.set(hashSessionToken(token), token);
    return this;
  }

  get(hash: unknown): string | undefined {
    return this.byHash.get(String(hash));
  }

  hashIn<T extends OpenQuery>(query: T): T {
    if (query.model !== 'session' || query.where === undefined) return query;
    const where = query.where.map((condition) => {
      if (condition.field !== 'token') return condition;
      const { value } = condition;
      return { ...condition, value: Array.isArray(value) ? value.map((token) => this.hash(token)) : this.hash(value) };
    });
    return { ...query, where };
  }

  private hash(token: unknown): string {
    this.add(String(token));
    return hashSessionToken(String(token));
  }
}

function storedRow(model: string, data: Row, providerTokens: ProviderTokens): Row {
  if (model === 'session' && typeof data['token'] === 'string') return { ...data, token: hashSessionToken(data['token']) };
  if (model === 'verification') return { ...data, userId: userOfVerification(data['value']) };
  return model === 'account' ? providerTokens.encrypt(data) : data;
}

function loadedRow(model: string, row: Row | null, tokens: RawTokens, providerTokens: ProviderTokens): Row | null {
  if (row === null || (model === 'user' && row['deletedAt'] != null)) return null;
  const loaded = model === 'account' ? providerTokens.decrypt(row) : { ...row };
  const token = model === 'session' ? tokens.get(row['token']) : undefined;
  if (token !== undefined) loaded['token'] = token;
  const user = row['user'] as Row | null | undefined;
  if (user != null) loaded['user'] = loadedRow('user', user, tokens, providerTokens);
  return loaded;
}

/** Better Auth stores the bare user id for a password reset, and the user who links an account in the OAuth state. */
function userOfVerification(value: unknown): string | null {
  if (isId(value)) return value;
  const state = typeof value === 'string' && value.startsWith('{') ? (JSON.parse(value) as { link?: { userId?: unknown } }) : {};
  return isId(state.link?.userId) ? state.link.userId : null;
}
