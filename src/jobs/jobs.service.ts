import { type BeforeApplicationShutdown, Inject, Injectable, Logger, type OnApplicationBootstrap, type OnModuleInit } from '@nestjs/common';
import { SchedulerRegistry } from '@nestjs/schedule';
import { Counter, Histogram } from 'prom-client';
import type { Actor } from '../access/principal.js';
import { AuditService } from '../audit/audit.service.js';
import { newId } from '../platform/crypto/ids.js';
import { Metrics } from '../platform/metrics/metrics.service.js';
import { reasonOf } from '../platform/logging/reason.js';
import { sweepInBatches } from '../platform/queue/sweep.js';
import { DATABASE, type Database } from '../platform/database/database.js';
import type { JobRun } from './job-runs.table.js';
import { JobAlreadyRunning, JobNotFound } from './jobs.errors.js';
import { JobsRepository } from './jobs.repository.js';
import { lastTick, type Schedule } from './schedule.js';
import { SystemClock } from '../platform/time/clock.service.js';
import { daysBefore } from '../platform/time/durations.js';

/** Scheduled work. It can be stopped and started again at any point. */
export type Job = Schedule & {
  name: string;
  description: string;
  /** Returns the number of processed rows. Stops soon after the signal. */
  run(signal: AbortSignal): Promise<number>;
};

const TICK_MS = 1000;
const LEASE_SECONDS = 15;
const KEEP_RUNS_DAYS = 30;

/** Runs each tick of a job on one process. If its holder dies, another process takes the run over (docs/decisions/0006). */
@Injectable()
export class JobsService implements OnModuleInit, OnApplicationBootstrap, BeforeApplicationShutdown {
  private readonly logger = new Logger(JobsService.name);
  readonly lease = { holder: newId(), leaseSeconds: LEASE_SECONDS };
  private readonly jobs = new Map<string, Job>();
  /** The last tick of each job that this process has tried to claim. */
  private readonly seen = new Map<string, number>();
  private readonly running = new Set<Promise<void>>();
  private readonly stopping = new AbortController();
  private ticking?: Promise<void>;
  private nextTakeOverAt = 0;
  private readonly runs: Counter<'job' | 'outcome'>;
  private readonly rows: Counter<'job'>;
  private readonly seconds: Histogram<'job'>;

  constructor(
    private readonly repository: JobsRepository,
    private readonly scheduler: SchedulerRegistry,
    private readonly audit: AuditService,
    private readonly clock: SystemClock,
    @Inject(DATABASE) private readonly db: Database,
    metrics: Metrics,
  ) {
    const registers = [metrics.registry];
    this.runs = new Counter({ name: 'tenantry_job_runs_total', help: 'Finished runs of a job', labelNames: ['job', 'outcome'], registers });
    this.rows = new Counter({ name: 'tenantry_job_rows_total', help: 'Rows that a job processed', labelNames: ['job'], registers });
    this.seconds = new Histogram({
      name: 'tenantry_job_seconds',
      help: 'Duration of a run',
      labelNames: ['job'],
      registers,
      buckets: [0.01, 0.1, 1, 10, 60, 600],
    });
  }

  onModuleInit(): void {
    this.register({
      name: 'prune_job_runs',
      description: 'Deletes job runs that finished more than a month ago',
      everySeconds: 86_400,
      run: (signal) => {
        const before = daysBefore(this.clock.now(), KEEP_RUNS_DAYS);
        return sweepInBatches(signal, (limit) => this.repository.deleteFinished(before, limit));
      },
    });
  }

  onApplicationBootstrap(): void {
    this.scheduler.addInterval(
      'jobs',
      setInterval(() => void (this.ticking ??= this.tick().finally(() => (this.ticking = undefined))), TICK_MS),
    );
  }

  async beforeApplicationShutdown(): Promise<void> {
    this.stopping.abort();
    if (this.scheduler.doesExist('interval', 'jobs')) this.scheduler.deleteInterval('jobs');
    // A tick can be claiming a run.
    await this.ticking;
    await Promise.allSettled(this.running);
  }

  /** The module that owns the work calls this when it starts. */
  register(job: Job): void {
    this.jobs.set(job.name, job);
    // An alert sees no increase where the first failure is also the first sample.
    for (const outcome of ['done', 'failed']) this.runs.inc({ job: job.name, outcome }, 0);
  }

  async list(): Promise<{ job: Job; lastRun?: JobRun }[]> {
    return Promise.all([...this.jobs.values()].map(async (job) => ({ job, lastRun: await this.repository.findLast(job.name) })));
  }

  /** Does not wait for the run. @throws {JobNotFound} @throws {JobAlreadyRunning} */
  async start(name: string, actor: Actor): Promise<{ job: Job; lastRun: JobRun }> {
    const job = this.jobs.get(name);
    if (job === undefined) throw new JobNotFound();
    const run = await this.db.transaction(async (tx) => {
      const claimed = await this.repository.claim(name, this.clock.now(), this.lease, tx);
      if (claimed === undefined) throw new JobAlreadyRunning();
      await this.audit.record({ actor, action: 'job.started', target: { type: 'job', id: name } }, tx);
      return claimed;
    });
    this.execute(job, run);
    return { job, lastRun: run };
  }

  private async tick(): Promise<void> {
    try {
      if (performance.now() >= this.nextTakeOverAt) await this.takeOver();
      for (const job of this.jobs.values()) await this.claimDueTick(job);
    } catch (error) {
      this.logger.error({ err: error }, 'Jobs could not be scheduled');
    }
  }

  /** As often as a lease is renewed. */
  private async takeOver(): Promise<void> {
    const abandoned = await this.repository.takeOver([...this.jobs.keys()], this.lease);
    if (abandoned === undefined) {
      this.nextTakeOverAt = performance.now() + this.renewEveryMs();
      return;
    }
    this.logger.warn({ job: abandoned.job, tick: abandoned.tick }, 'Taking over a run of a process that died');
    this.execute(this.jobs.get(abandoned.job)!, abandoned);
  }

  private renewEveryMs(): number {
    return (this.lease.leaseSeconds * 1000) / 3;
  }

  private async claimDueTick(job: Job): Promise<void> {
    const due = lastTick(job, this.clock.now()).getTime();
    if (this.seen.get(job.name) === due || this.stopping.signal.aborted) return;
    const run = await this.db.transaction((tx) => this.repository.claim(job.name, new Date(due), this.lease, tx));
    this.seen.set(job.name, due);
    if (run !== undefined) this.execute(job, run);
  }

  private execute(job: Job, run: JobRun): void {
    const done = this.runAndRecord(job, run).finally(() => this.running.delete(done));
    this.running.add(done);
  }

  private async runAndRecord(job: Job, run: JobRun): Promise<void> {
    const lost = new AbortController();
    const heartbeat = setInterval(() => {
      this.repository.renewLease(run.id, this.lease).then(
        (held) => held || lost.abort(),
        (error: unknown) => this.logger.warn({ err: error, job: job.name }, 'A lease could not be renewed'),
      );
    }, this.renewEveryMs());
    const stopTimer = this.seconds.startTimer({ job: job.name });
    try {
      const count = await job.run(AbortSignal.any([this.stopping.signal, lost.signal]));
      this.runs.inc({ job: job.name, outcome: 'done' });
      this.rows.inc({ job: job.name }, count);
      await this.repository.finish(run.id, this.lease.holder, { count });
      this.logger[count === 0 ? 'debug' : 'log']({ job: job.name, count, tick: run.tick }, `Job ${job.name} done: ${count}`);
    } catch (error) {
      if (this.stopping.signal.aborted && error === this.stopping.signal.reason) {
        // Without a result, another process takes the run over when its lease ends.
        this.logger.log({ job: job.name, tick: run.tick }, `Job ${job.name} stops with this process`);
        return;
      }
      this.runs.inc({ job: job.name, outcome: 'failed' });
      this.logger.error({ err: error, job: job.name }, `Job ${job.name} failed`);
      await this.repository
        .finish(run.id, this.lease.holder, { error: reasonOf(error) })
        .catch((failure: unknown) =>
          this.logger.error({ err: failure, job: job.name }, 'The result of a run could not be stored. The run will be taken over'),
        );
    } finally {
      clearInterval(heartbeat);
      stopTimer();
    }
  }
}
