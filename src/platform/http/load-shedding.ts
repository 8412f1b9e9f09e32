import type { NextFunction, Request, Response } from 'express';
import { ServiceUnavailable } from '../problems/problems.errors.js';
import { sendProblem } from '../problems/problem.filter.js';

const SWEEP_MS = 1000;
const SWEEP_UNDER_LOAD_MS = 50;
const WINDOW_MS = 100;
const MIN_SAMPLES = 10;
/** Few requests are never the reason for long waits, so the bound does not fall below this. */
const MIN_LIMIT = 100;
const GROWTH = 1.25;

/** One for all refusals, because an error costs more than the rest of a refusal. */
const BUSY = new ServiceUnavailable({ detail: 'The server is busy. Try again shortly.', headers: { 'retry-after': '1' } });

/**
 * The number of requests that may be at work. It is `max` until most requests take longer than the target. Then more
 * requests only wait for each other, and the bound is what the process completes within the target (Little's law).
 */
export class ConcurrencyLimit {
  private current: number;
  private windowStart = 0;
  private completed = 0;
  private late = 0;
  private mostAtWork = 0;

  constructor(
    private readonly max: number,
    private readonly targetMs: number,
  ) {
    this.current = max;
  }

  get value(): number {
    return Math.floor(this.current);
  }

  /** Counts a request that took `milliseconds`, of `atWork` at that moment. */
  add(milliseconds: number, atWork: number, now: number): void {
    if (this.completed === 0) this.windowStart = now;
    this.completed += 1;
    if (milliseconds > this.targetMs) this.late += 1;
    this.mostAtWork = Math.max(this.mostAtWork, atWork);
    const elapsed = now - this.windowStart;
    if (elapsed < WINDOW_MS || this.completed < MIN_SAMPLES) return;
    const isOverloaded = this.late * 2 > this.completed && this.mostAtWork > MIN_LIMIT;
    const next = isOverloaded ? Math.max(MIN_LIMIT, (this.completed / elapsed) * this.targetMs) : this.current * GROWTH;
    this.current = Math.min(this.max, next);
    this.completed = this.late = this.mostAtWork = 0;
  }
}

interface Work {
  response: Response;
  start: number;
  /** Since when the response waits for the client to read. */
  waitingSince?: number;
}

interface Bounds {
  limit: number;
  targetMs: number;
  /** A client that does not read for so long is cut off. */
  readTimeoutMs: number;
}

/**
 * Refuses requests while too many others are at work. Work lasts from the complete body to the complete response, so
 * neither a slow sender nor a slow reader takes a place.
 */
export class LoadShedding {
  private readonly working = new Set<Work>();
  /** Responses that the client has not read yet, oldest first. */
  private readonly unread = new Set<Work>();
  private readonly limit: ConcurrencyLimit;
  private lastSweep = 0;

  constructor(private readonly bounds: Bounds) {
    this.limit = new ConcurrencyLimit(bounds.limit, bounds.targetMs);
  }

  readonly refuse = (request: Request, response: Response, next: NextFunction): void => {
    if (this.hasRoom() || request.path.startsWith('/health/')) return next();
    sendProblem(request, response, BUSY, 'overload');
  };

  readonly begin = (request: Request, response: Response, next: NextFunction): void => {
    this.refuse(request, response, () => {
      const work: Work = { response, start: performance.now() };
      this.working.add(work);
      response.once('close', () => {
        const now = performance.now();
        // Not those that waited for the client to read.
        if (work.waitingSince === undefined) this.limit.add(now - work.start, this.working.size, now);
        this.working.delete(work);
        this.unread.delete(work);
      });
      next();
    });
  };

  start(): () => void {
    const timer = setInterval(() => this.sweep(performance.now()), SWEEP_MS).unref();
    return () => clearInterval(timer);
  }

  private hasRoom(): boolean {
    const now = performance.now();
    const limit = this.limit.value;
    if (this.working.size >= limit && now - this.lastSweep > SWEEP_UNDER_LOAD_MS) this.sweep(now);
    return this.working.size < limit;
  }

  private sweep(now: number): void {
    this.lastSweep = now;
    for (const work of this.working) {
      const { response } = work;
      if (response.writableEnded) {
        this.working.delete(work);
        this.unread.add(work);
        work.waitingSince = now;
      } else if (work.waitingSince !== undefined) {
        if (now - work.waitingSince > this.bounds.readTimeoutMs) response.destroy();
      } else if (response.writableNeedDrain) {
        work.waitingSince = now;
        response.once('drain', () => (work.waitingSince = undefined));
      }
    }
    for (const work of this.unread) {
      const isLate = now - work.waitingSince! > this.bounds.readTimeoutMs;
      if (!isLate && this.unread.size <= this.bounds.limit) break;
      this.unread.delete(work);
      work.response.destroy();
    }
  }
}
