import type { NextFunction, Request, RequestHandler, Response } from 'express';

/** Runs middleware one after another. Express would match the path of the request again for each. */
export class MiddlewareChain {
  private readonly steps: RequestHandler[] = [];

  add(step: RequestHandler): void {
    this.steps.push(step);
  }

  readonly run = (request: Request, response: Response, done: NextFunction): void => {
    let at = 0;
    const next = (error?: unknown): void => {
      const step = this.steps[at];
      if (error !== undefined || step === undefined) return done(error);
      at += 1;
      try {
        const result: unknown = step(request, response, next);
        if (result instanceof Promise) void passFailure(result, done);
      } catch (thrown) {
        done(thrown);
      }
    };
    next();
  };
}

async function passFailure(step: Promise<unknown>, done: NextFunction): Promise<void> {
  try {
    await step;
  } catch (error) {
    done(error);
  }
}
