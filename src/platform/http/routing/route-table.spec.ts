import { ExpressAdapter } from '@nestjs/platform-express';
import type { Express, Request, Response } from 'express';
import fc from 'fast-check';
import { RouteTable } from '../../../../src/platform/http/routing/route-table.js';

const METHODS = ['GET', 'POST', 'DELETE'] as const;

/** What a router does with a request: the number of the route and its parameters, or why there is none. */
type Dispatch = (request: Request, response: Response, next: (error?: unknown) => void) => unknown;
const outcomeOf = (dispatch: Dispatch, method: string, path: string) => {
  let outcome: unknown = 'none';
  const request = { method, url: path, path, called: (number: number, params: object) => (outcome = { number, params: { ...params } }) };
  try {
    dispatch(request as unknown as Request, {} as Response, (error) => {
      if (error instanceof URIError) outcome = 'not decoded';
    });
  } catch (error) {
    outcome = error instanceof URIError ? 'not decoded' : error;
  }
  return outcome;
};

describe('the route table', () => {
  it('finds the same route with the same parameters as the router of Express', () => {
    const segment = fc.constantFrom('a', 'b-c', 'd.json', ':x', ':y');
    const route = fc.record({ method: fc.constantFrom(...METHODS), path: fc.array(segment, { minLength: 1, maxLength: 3 }) });
    const text = fc.constantFrom('a', 'A', 'b-c', 'B-C', 'd.json', 'dxjson', 'e', '', '%61', '%2F', '%ff', '%C3%A9', '*', ':x', '..', 'é');
    const target = fc.record({
      method: fc.constantFrom(...METHODS, 'HEAD', 'PUT'),
      path: fc.array(text, { maxLength: 4 }).map((texts) => `/${texts.join('/')}`),
    });
    fc.assert(
      fc.property(
        fc.array(route, { minLength: 1, maxLength: 8 }),
        fc.array(target, { minLength: 10, maxLength: 10 }),
        (routes, targets) => {
          const table = new RouteTable();
          const { router } = new ExpressAdapter().getInstance<Express>();
          for (const [number, { method, path }] of routes.entries()) {
            const names = path.map((one, place) => (one.startsWith(':') ? `${one}${place}` : one));
            const handler = (request: Request) => void (request as unknown as { called: Function }).called(number, request.params);
            table.add(method, `/${names.join('/')}`, handler);
            router[method.toLowerCase() as 'get'](`/${names.join('/')}`, handler);
          }
          for (const { method, path } of targets) {
            const [ours, theirs] = [outcomeOf(table.dispatch, method, path), outcomeOf(router, method, path)];
            expect({ method, path, outcome: ours }).toEqual({ method, path, outcome: theirs });
          }
        },
      ),
      { numRuns: 500 },
    );
  });

  it('lists the methods of every route that matches a path', () => {
    const table = new RouteTable();
    for (const [method, path] of [
      ['GET', '/users/me'],
      ['DELETE', '/users/:id'],
      ['POST', '/users'],
    ] as const)
      table.add(method, path, () => undefined);
    expect(table.methodsOf('/Users/Me/')).toEqual(['GET', 'HEAD', 'DELETE']);
    expect(table.methodsOf('/users/x')).toEqual(['DELETE']);
    expect(table.methodsOf('/users/x/y')).toEqual([]);
    expect(table.methodsOf('*')).toEqual([]);
  });

  it.each(['/a/*rest', '/a/:x.json', '/a/{b}', '/:x-:y'])('refuses the path %s', (path) => {
    expect(() => new RouteTable().add('GET', path, () => undefined)).toThrow('neither plain nor one parameter');
  });
});
