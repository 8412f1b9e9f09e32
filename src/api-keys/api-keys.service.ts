import { Inject, Injectable } from '@nestjs/common';
import { createApiKey } from '../access/credentials/api-key-tokens.js';
import type { Actor, UserPrincipal } from '../access/principal.js';
import type { Scope } from '../access/scopes.js';
import { AuditService, type RecordChange, type RecordChanges } from '../audit/audit.service.js';
import { InvalidRequest } from '../platform/problems/problems.errors.js';
import { Cursors, type Page } from '../platform/pagination/cursors.service.js';
import { newId } from '../platform/crypto/ids.js';
import { Config } from '../platform/config/config.js';
import { DATABASE, type Database, type Queryable } from '../platform/database/database.js';
import { ApiKeyNotFound } from './api-keys.errors.js';
import { ApiKeysRepository } from './api-keys.repository.js';
import type { ApiKey } from './api-keys.table.js';
import { Clock } from '../platform/time/clock.service.js';

export interface FreshApiKey extends ApiKey {
  key: string;
}

@Injectable()
export class ApiKeysService {
  private readonly record: RecordChange;
  private readonly recordAll: RecordChanges;

  constructor(
    private readonly repository: ApiKeysRepository,
    audit: AuditService,
    private readonly cursors: Cursors,
    private readonly config: Config,
    private readonly clock: Clock,
    @Inject(DATABASE) private readonly db: Database,
  ) {
    this.record = audit.recorder('api_key');
    this.recordAll = audit.recorderOfMany('api_key');
  }

  async list(organizationId: string, { limit, cursor }: { limit: number; cursor?: string }): Promise<Page<ApiKey>> {
    const list = ['api-keys', organizationId];
    const after = this.cursors.readTimeAndId(cursor, list);
    const rows = await this.repository.list(organizationId, { limit: limit + 1, after });
    return this.cursors.page(rows, { limit, list, position: ({ createdAt, id }) => [createdAt.toISOString(), id] });
  }

  async create(
    organizationId: string,
    { name, scopes, expiresAt = null }: { name: string; scopes: Scope[]; expiresAt?: Date | null },
    { userId, actor }: UserPrincipal,
    db: Queryable,
  ): Promise<FreshApiKey> {
    if (expiresAt !== null && expiresAt <= this.clock.now()) {
      throw new InvalidRequest({ errors: [{ field: 'expiresAt', message: 'expiresAt must be in the future' }] });
    }
    const fresh = await this.insert({ organizationId, name, scopes, expiresAt, createdBy: userId }, db);
    await this.record('api_key.created', fresh, { actor, after: { name, scopes: fresh.scopes, expiresAt } }, db);
    return fresh;
  }

  /** The old key stays valid for the overlap, so that clients can change one after the other. @throws {ApiKeyNotFound} */
  async rotate(
    organizationId: string,
    apiKeyId: string,
    overlapSeconds: number,
    { userId, actor }: UserPrincipal,
    db: Queryable,
  ): Promise<FreshApiKey> {
    const old = await this.repository.lockLive(organizationId, apiKeyId, db);
    if (old === undefined) throw new ApiKeyNotFound();
    const revokedAt = await this.repository.revokeAfter(old.id, overlapSeconds, db);
    const { name, scopes, expiresAt } = old;
    const fresh = await this.insert({ organizationId, name, scopes, expiresAt, createdBy: userId }, db);
    const change = { before: { revokedAt: old.revokedAt }, after: { revokedAt, replacedBy: fresh.id } };
    await this.record('api_key.rotated', old, { actor, ...change }, db);
    return fresh;
  }

  async revoke(organizationId: string, apiKeyId: string, actor: Actor): Promise<void> {
    await this.db.transaction(async (tx) => {
      const key = await this.repository.lockLive(organizationId, apiKeyId, tx);
      if (key === undefined) throw new ApiKeyNotFound();
      const revokedAt = await this.repository.revokeAfter(key.id, 0, tx);
      await this.record('api_key.revoked', key, { actor, before: { revokedAt: key.revokedAt }, after: { revokedAt } }, tx);
    });
  }

  /** Ends the keys that these users created in their organizations. Returns the number of keys. */
  async revokeCreatedBy(people: { organizationId: string; userId: string }[], actor: Actor, db: Queryable): Promise<number> {
    const revoked = await this.repository.revokeCreatedBy(people, db);
    const changeOf = ({ revokedAt }: ApiKey) => ({ actor, after: { revokedAt, reason: 'unproved_account' } });
    await this.recordAll('api_key.revoked', revoked, changeOf, db);
    return revoked.length;
  }

  private async insert(
    fields: Pick<ApiKey, 'organizationId' | 'name' | 'scopes' | 'expiresAt' | 'createdBy'>,
    db: Queryable,
  ): Promise<FreshApiKey> {
    const { key, prefix, hash } = createApiKey(this.config.isProduction);
    const row = await this.repository.insert({ id: newId(), ...fields, scopes: [...new Set(fields.scopes)], prefix, hash }, db);
    return { ...row, key };
  }
}
