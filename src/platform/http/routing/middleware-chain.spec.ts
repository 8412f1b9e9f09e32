import { setImmediate as later } from 'node:timers/promises';
import type { NextFunction, Request, RequestHandler, Response } from 'express';
import { MiddlewareChain } from '../../../../src/platform/http/routing/middleware-chain.js';

type Step = (next: NextFunction) => unknown;

async function outcomeOf(...steps: Step[]): Promise<unknown> {
  const chain = new MiddlewareChain();
  for (const step of steps) chain.add(((_request: Request, _response: Response, next: NextFunction) => step(next)) as RequestHandler);
  return new Promise((resolve) => chain.run({} as Request, {} as Response, resolve));
}

describe('the middleware chain', () => {
  const failure = new Error('failure');
  const never: Step = () => {
    throw new Error('must not run');
  };

  it('runs its steps in their order', async () => {
    const ran: number[] = [];
    const step =
      (number: number): Step =>
      (next) => {
        ran.push(number);
        if (number === 2) setImmediate(next);
        else next();
      };
    expect(await outcomeOf(step(1), step(2), step(3))).toBeUndefined();
    expect(ran).toEqual([1, 2, 3]);
  });

  it.each<[string, Step]>([
    ['passes on', (next) => next(failure)],
    [
      'throws',
      () => {
        throw failure;
      },
    ],
    ['rejects with', async () => later().then(() => Promise.reject(failure))],
  ])('ends with the error that a step %s', async (_what, failing) => {
    expect(await outcomeOf((next) => next(), failing, never)).toBe(failure);
    expect(await outcomeOf((next) => setImmediate(next), failing, never)).toBe(failure);
  });
});
