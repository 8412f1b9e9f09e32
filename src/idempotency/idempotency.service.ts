import { Inject, Injectable, type OnModuleInit } from '@nestjs/common';
import { Keyring } from '../platform/crypto/keyring.service.js';
import { type InvalidField, locate, Problem } from '../platform/problems/problem.js';
import { renewInBatches, sweepInBatches } from '../platform/queue/sweep.js';
import { DATABASE, type Database, type Queryable } from '../platform/database/database.js';
import { JobsService } from '../jobs/jobs.service.js';
import type { IdempotentCall } from './idempotency.decorators.js';
import { IdempotencyKeyInFlight, IdempotencyKeyReused } from './idempotency.errors.js';
import { type RequestIdentity, IdempotencyRepository } from './idempotency.repository.js';

const CONTEXT = 'idempotency_keys.answer';

type StoredResponse = { body: unknown } | { problem: { status: number; code: string; detail: string; errors?: InvalidField[] } };

class ReplayedProblem extends Problem {
  override readonly status: number;
  override readonly code: string;

  constructor({ status, code, detail, errors }: Extract<StoredResponse, { problem: unknown }>['problem']) {
    super(detail, { errors });
    this.status = status;
    this.code = code;
  }
}

/** Stores the response in the transaction of the effect, so a crash cannot separate them. */
@Injectable()
export class IdempotencyService implements OnModuleInit {
  constructor(
    private readonly repository: IdempotencyRepository,
    private readonly keyring: Keyring,
    private readonly jobs: JobsService,
    @Inject(DATABASE) private readonly db: Database,
  ) {}

  onModuleInit(): void {
    this.jobs.register({
      name: 'prune_idempotency_keys',
      description: 'Removes idempotency keys older than a day',
      everySeconds: 3600,
      run: (signal) => sweepInBatches(signal, (limit) => this.repository.deleteOld(limit)),
    });
  }

  /**
   * Runs `work` in a transaction, or returns the stored response.
   * @throws {IdempotencyKeyReused} for another request with the same key
   * @throws {IdempotencyKeyInFlight} while the first request is running
   */
  async once<T>(call: IdempotentCall, work: (tx: Queryable) => Promise<T>): Promise<T> {
    const { identity, requestHash } = call;
    if (identity === undefined) return this.db.transaction(work);
    try {
      return await this.db.transaction(async (tx) => {
        const before = await this.lockAndFind(identity, requestHash, tx);
        if (before !== undefined) return this.replay(call, before) as T;
        const body = await work(tx);
        await this.store(identity, requestHash, { body }, tx);
        return body;
      });
    } catch (error) {
      if (isFinal(error)) await this.storeProblem(identity, requestHash, error);
      throw error;
    }
  }

  /**
   * Like `once`, for work that calls another service and so must not hold a transaction. The work can run twice, at once
   * or after a crash, so it must pass an idempotency key to that service.
   */
  async onceWithoutTransaction<T>(call: IdempotentCall, work: () => Promise<T>): Promise<T> {
    const { identity } = call;
    if (identity === undefined) return work();
    if ((await this.repository.find(identity, this.db)) !== undefined) return this.once(call, work);
    const [outcome] = await Promise.allSettled([work()]);
    return this.once(call, async () => {
      if (outcome.status === 'rejected') throw outcome.reason;
      return outcome.value;
    });
  }

  /** Encrypts all responses under the newest key, so that older keys can be removed. Returns their number. */
  async renewEncryption(): Promise<number> {
    return renewInBatches(
      this.db,
      (limit, tx) => this.repository.lockUnderOlderKeys(this.keyring.newestKeyId, limit, tx),
      (row, tx) => this.repository.updateAnswer(row, this.keyring.renew(row.answer, CONTEXT), tx),
    );
  }

  private async lockAndFind(identity: RequestIdentity, requestHash: string, db: Queryable): Promise<StoredResponse | undefined> {
    if (!(await this.repository.tryLock(identity, db))) throw new IdempotencyKeyInFlight({ headers: { 'retry-after': '1' } });
    const row = await this.repository.find(identity, db);
    if (row === undefined) return undefined;
    if (row.requestHash !== requestHash) throw new IdempotencyKeyReused();
    return JSON.parse(this.keyring.decrypt(row.answer, CONTEXT)) as StoredResponse;
  }

  private replay(call: IdempotentCall, stored: StoredResponse): unknown {
    call.markReplayed();
    if ('problem' in stored) throw new ReplayedProblem(stored.problem);
    return stored.body;
  }

  /** The transaction of the work was rolled back, so the problem gets one of its own. */
  private async storeProblem(identity: RequestIdentity, requestHash: string, { status, code, message, errors }: Problem): Promise<void> {
    await this.db.transaction(async (tx) => {
      const isFirst = (await this.repository.tryLock(identity, tx)) && (await this.repository.find(identity, tx)) === undefined;
      if (isFirst)
        await this.store(
          identity,
          requestHash,
          { problem: { status, code, detail: message, errors: errors && locate(errors, 'body') } },
          tx,
        );
    });
  }

  private async store(identity: RequestIdentity, requestHash: string, response: StoredResponse, db: Queryable): Promise<void> {
    await this.repository.insert(identity, requestHash, this.keyring.encrypt(JSON.stringify(response), CONTEXT), db);
  }
}

/** Whether a retry would fail in the same way. */
function isFinal(error: unknown): error is Problem {
  if (!(error instanceof Problem) || error instanceof ReplayedProblem) return false;
  if (error instanceof IdempotencyKeyInFlight || error instanceof IdempotencyKeyReused) return false;
  return error.status < 500 && error.status !== 429;
}
