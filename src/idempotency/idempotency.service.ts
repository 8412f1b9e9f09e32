import { Inject, Injectable, type OnModuleInit } from '@nestjs/common';
import { Keyring } from '../platform/crypto/keyring.service.js';
import { type InvalidField, locate, Problem } from '../platform/problems/problem.js';
import { renewInBatches, sweepInBatches } from '../platform/queue/sweep.js';
import { DATABASE, type Database, type Queryable } from '../platform/database/database.js';
import { JobsService } from '../jobs/jobs.service.js';
import type { IdempotentCall } from './idempotency.decorators.js';
import { IdempotencyKeyInFlight, IdempotencyKeyReused } from './idempotency.errors.js';
import { type Identity, IdempotencyRepository } from './idempotency.repository.js';

const CONTEXT = 'idempotency_keys.answer';

type Answer = { body: unknown } | { problem: { status: number; code: string; detail: string; errors?: InvalidField[] } };

/** A problem that was answered before and is answered again. */
class ReplayedProblem extends Problem {
  override readonly status: number;
  override readonly code: string;

  constructor({ status, code, detail, errors }: Extract<Answer, { problem: unknown }>['problem']) {
    super(detail, { errors });
    this.status = status;
    this.code = code;
  }
}

/**
 * Does a thing once for each `Idempotency-Key`. The answer is stored in the transaction of the effect:
 * either both are there or neither, whenever the process dies.
 */
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
   * Runs `work` in a transaction, or answers what it answered before.
   *
   * @param work does everything in the transaction it is given, and answers the response's body
   * @throws {IdempotencyKeyReused} for another request under the same key
   * @throws {IdempotencyKeyInFlight} while the first one is at work
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
      if (isLasting(error)) await this.storeProblem(identity, requestHash, error);
      throw error;
    }
  }

  /**
   * As `once`, for work that asks somebody outside and so must not hold a transaction. It may be done twice by two
   * who ask at the same time, and again after a crash: whom it asks is given a key of its own for that.
   */
  async onceOutside<T>(call: IdempotentCall, work: () => Promise<T>): Promise<T> {
    const { identity } = call;
    if (identity === undefined) return work();
    if ((await this.repository.find(identity, this.db)) !== undefined) return this.once(call, work);
    const [outcome] = await Promise.allSettled([work()]);
    return this.once(call, async () => {
      if (outcome.status === 'rejected') throw outcome.reason;
      return outcome.value;
    });
  }

  /** Encrypts all stored answers under the newest key, so that older keys can be dropped; answers how many. */
  async renewEncryption(): Promise<number> {
    return renewInBatches(
      this.db,
      (limit, tx) => this.repository.lockNotUnderKey(this.keyring.newestKeyId, limit, tx),
      (row, tx) => this.repository.updateAnswer(row, this.keyring.renew(row.answer, CONTEXT), tx),
    );
  }

  private async lockAndFind(identity: Identity, requestHash: string, db: Queryable): Promise<Answer | undefined> {
    if (!(await this.repository.tryLock(identity, db))) throw new IdempotencyKeyInFlight({ headers: { 'retry-after': '1' } });
    const row = await this.repository.find(identity, db);
    if (row === undefined) return undefined;
    if (row.requestHash !== requestHash) throw new IdempotencyKeyReused();
    return JSON.parse(this.keyring.decrypt(row.answer, CONTEXT)) as Answer;
  }

  private replay(call: IdempotentCall, answer: Answer): unknown {
    call.markReplayed();
    if ('problem' in answer) throw new ReplayedProblem(answer.problem);
    return answer.body;
  }

  /** What was refused changed nothing, so its answer has a transaction of its own. */
  private async storeProblem(identity: Identity, requestHash: string, { status, code, message, errors }: Problem): Promise<void> {
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

  private async store(identity: Identity, requestHash: string, answer: Answer, db: Queryable): Promise<void> {
    await this.repository.insert(identity, requestHash, this.keyring.encrypt(JSON.stringify(answer), CONTEXT), db);
  }
}

/** Refusals of the work itself; not those of this module, which are about the moment. */
function isLasting(error: unknown): error is Problem {
  if (!(error instanceof Problem) || error instanceof ReplayedProblem) return false;
  if (error instanceof IdempotencyKeyInFlight || error instanceof IdempotencyKeyReused) return false;
  return error.status < 500 && error.status !== 429;
}
