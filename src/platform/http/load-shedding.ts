import type { NextFunction, Request, Response } from 'express';
import { ServiceUnavailable } from '../problems/problems.errors.js';
import { sendProblem } from '../problems/problem.filter.js';

const SWEEP_MS = 1000;
const SWEEP_UNDER_LOAD_MS = 50;

interface Work {
  response: Response;
  /** Since when the response waits for the client to read. */
  waitingSince?: number;
}

interface Bounds {
  limit: number;
  /** A client that does not read for so long is cut off. */
  readTimeoutMs: number;
}

/**
 * Refuses requests while `limit` others are at work. Work lasts from the complete body to the complete response, so
 * neither a slow sender nor a slow reader takes a place.
 */
export class LoadShedding {
  private readonly working = new Set<Work>();
  /** Responses that the client has not read yet, oldest first. */
  private readonly unread = new Set<Work>();
  private lastSweep = 0;

  constructor(private readonly bounds: Bounds) {}

  readonly refuse = (request: Request, response: Response, next: NextFunction): void => {
    if (this.hasRoom() || request.path.startsWith('/health/')) return next();
    sendProblem(
      request,
      response,
      new ServiceUnavailable({ detail: 'The server is busy. Try again shortly.', headers: { 'retry-after': '1' } }),
    );
  };

  readonly begin = (request: Request, response: Response, next: NextFunction): void => {
    this.refuse(request, response, () => {
      const work: Work = { response };
      this.working.add(work);
      response.once('close', () => {
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
    if (this.working.size >= this.bounds.limit && now - this.lastSweep > SWEEP_UNDER_LOAD_MS) this.sweep(now);
    return this.working.size < this.bounds.limit;
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
