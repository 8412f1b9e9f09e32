import { type BeforeApplicationShutdown, Inject, Injectable, Logger, type OnApplicationBootstrap, type OnModuleInit } from '@nestjs/common';
import { Counter, Gauge } from 'prom-client';
import { JobsService } from '../jobs/jobs.service.js';
import { Config } from '../platform/config/config.js';
import { newId } from '../platform/crypto/ids.js';
import { DATABASE, type Database, type Queryable } from '../platform/database/database.js';
import { afterCommit } from '../platform/database/transactions.js';
import { Metrics } from '../platform/metrics/metrics.service.js';
import { Poller } from '../platform/queue/poller.js';
import { sweepInBatches } from '../platform/queue/sweep.js';
import { Clock } from '../platform/time/clock.service.js';
import { daysBefore } from '../platform/time/durations.js';
import { JournalFiles, type JournalPosition } from './journal-files.js';
import { RevocationsRepository } from './revocations.repository.js';

const BATCH = 500;
/** Without a journal. A process that has one meanwhile still finds the day's revocations. */
const KEEP_DAYS = 1;

/** Copies revocations from the database to the journal, so that a restored backup can repeat them (docs/decisions/0074). */
@Injectable()
export class RevocationJournal implements OnModuleInit, OnApplicationBootstrap, BeforeApplicationShutdown {
  private readonly logger = new Logger(RevocationJournal.name);
  private readonly files?: JournalFiles;
  /** Whether the database knows its journal. A backup from before the first revocation needs its position too. */
  private isKnown = false;
  private readonly entries: Counter<'outcome'>;
  private readonly poller = new Poller(() => this.write(), {
    pauseMs: 250,
    onError: (error) => {
      this.entries.inc({ outcome: 'failed' });
      this.logger.error({ err: error }, 'Revocations could not be written to the journal and will be tried again');
    },
  });

  constructor(
    private readonly repository: RevocationsRepository,
    private readonly jobs: JobsService,
    private readonly clock: Clock,
    @Inject(DATABASE) private readonly db: Database,
    { revocationJournal: directory }: Config,
    metrics: Metrics,
  ) {
    if (directory !== undefined) this.files = new JournalFiles(directory);
    const registers = [metrics.registry];
    this.entries = new Counter({
      name: 'tenantry_revocation_journal_writes_total',
      help: 'Revocations that were written to the journal (written), and failed attempts to write some (failed)',
      labelNames: ['outcome'],
      registers,
    });
    for (const outcome of ['written', 'failed']) this.entries.inc({ outcome }, 0);
    const hasJournal = this.files !== undefined;
    new Gauge({
      name: 'tenantry_revocation_journal_lag_seconds',
      help: 'Age of the oldest revocation that is not in the journal; 0 where no journal is configured',
      registers,
      async collect() {
        this.set(hasJournal ? await repository.oldestAgeSeconds() : 0);
      },
    });
  }

  onModuleInit(): void {
    this.jobs.register({
      name: 'prune_revocations',
      description: 'Deletes revocations older than a day that no journal takes, where none is configured',
      everySeconds: 3600,
      run: async (signal) => {
        if (this.files !== undefined) return 0;
        const before = daysBefore(this.clock.now(), KEEP_DAYS);
        return sweepInBatches(signal, (limit) => this.repository.deleteBefore(before, limit));
      },
    });
  }

  onApplicationBootstrap(): void {
    if (this.files !== undefined) this.poller.start();
  }

  async beforeApplicationShutdown(): Promise<void> {
    await this.poller.stop();
  }

  /** Writes some. Returns whether there may be more. */
  async write(): Promise<boolean> {
    const files = this.files;
    if (files === undefined || (this.isKnown && (await this.repository.isEmpty()))) return false;
    return this.db.transaction(async (tx) => {
      if (!(await this.repository.tryLock(tx))) return false;
      await this.requireSameJournal(files, tx);
      const waiting = await this.repository.list(BATCH, tx);
      if (waiting.length === 0 && this.isKnown) return false;
      const entries = waiting.map(({ kind, subjectId, details, createdAt }) => ({
        kind,
        id: subjectId,
        details,
        at: createdAt.toISOString(),
      }));
      const position = await files.append(entries, newId());
      const ids = waiting.map(({ id }) => id);
      await this.repository.remove(ids, tx);
      await this.repository.savePosition(position, tx);
      afterCommit(tx, () => (this.isKnown = true));
      this.entries.inc({ outcome: 'written' }, waiting.length);
      return waiting.length === BATCH;
    });
  }

  /** Two hosts with a folder each would write two halves of a journal, and a replay would miss one. */
  private async requireSameJournal(files: JournalFiles, tx: Queryable): Promise<void> {
    const [known, found] = [await this.repository.findPosition(tx), await files.findPosition()];
    if (known !== undefined && !continues(found, known))
      throw new Error(
        `REVOCATION_JOURNAL does not hold the journal ${known.journalId} up to entry ${known.last}. All processes must share its folder.`,
      );
  }
}

/** Whether a journal holds everything up to a position. It may hold more: the database may be a restored one. */
export function continues(found: JournalPosition | undefined, known: JournalPosition): boolean {
  return found !== undefined && found.journalId === known.journalId && found.last >= known.last;
}
