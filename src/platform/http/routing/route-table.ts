import type { NextFunction, Request, RequestHandler, Response } from 'express';

const LITERAL = /^[\w.-]*$/;
const PARAMETER = /^:(\w+)$/;

interface TableRoute {
  method: string;
  path: string;
  handler: RequestHandler;
  parameters: [place: number, name: string][];
  order: number;
}

interface Segment {
  literals: Map<string, Segment>;
  parameter?: Segment;
  routes: TableRoute[];
}

/**
 * Finds a route segment by segment, where Express would try one expression for each route. The result is the same: the
 * first registered route that matches, with any case of the letters and with or without a slash at the end.
 */
export class RouteTable {
  private readonly root: Segment = newSegment();
  private size = 0;

  /** @throws {Error} for a path with anything but plain segments and whole parameters */
  add(method: string, path: string, handler: RequestHandler): void {
    const parameters: TableRoute['parameters'] = [];
    let segment = this.root;
    for (const [place, text] of segmentsOf(path).entries()) {
      const name = PARAMETER.exec(text)?.[1];
      if (name !== undefined) {
        parameters.push([place, name]);
        segment = segment.parameter ??= newSegment();
      } else if (LITERAL.test(text)) segment = literalOf(segment, text.toLowerCase());
      else throw new Error(`The route ${path} has a segment that is neither plain nor one parameter: ${text}`);
    }
    segment.routes.push({ method, path, handler, parameters, order: this.size });
    this.size += 1;
  }

  readonly dispatch = (request: Request, response: Response, next: NextFunction): unknown => {
    const { path } = request;
    const method = request.method === 'HEAD' ? 'GET' : request.method;
    const routes = this.find(path);
    const route = routes.find((one) => one.method === method);
    // As in Express, a path that cannot be decoded is unknown, whatever the method.
    const parameters = parametersOf(route ?? routes[0], path);
    if (route === undefined) return next();
    request.route = route;
    request.params = parameters;
    return route.handler(request, response, next);
  };

  /** The path of a request's route as it was registered, also before its dispatch. */
  templateOf({ method, path, route }: Request): string | undefined {
    if (route !== undefined) return (route as TableRoute).path;
    const wanted = method === 'HEAD' ? 'GET' : method;
    return this.find(path).find((one) => one.method === wanted)?.path;
  }

  methodsOf(path: string): string[] {
    return this.find(path).flatMap(({ method }) => (method === 'GET' ? ['GET', 'HEAD'] : [method]));
  }

  private find(path: string): TableRoute[] {
    const found: TableRoute[] = [];
    if (path.startsWith('/')) collect(this.root, segmentsOf(path.toLowerCase()), 0, found);
    return found.length > 1 ? found.sort((a, b) => a.order - b.order) : found;
  }
}

function newSegment(): Segment {
  return { literals: new Map(), routes: [] };
}

function literalOf({ literals }: Segment, text: string): Segment {
  const known = literals.get(text) ?? newSegment();
  literals.set(text, known);
  return known;
}

/** One slash at the end makes no difference. */
function segmentsOf(path: string): string[] {
  return (path.endsWith('/') ? path.slice(1, -1) : path.slice(1)).split('/');
}

/** @throws {URIError} */
function parametersOf(route: TableRoute | undefined, path: string): Record<string, string> {
  const parameters = Object.create(null) as Record<string, string>;
  if (route === undefined || route.parameters.length === 0) return parameters;
  const texts = segmentsOf(path);
  for (const [place, name] of route.parameters) parameters[name] = decodeURIComponent(texts[place]!);
  return parameters;
}

function collect(segment: Segment, texts: string[], place: number, found: TableRoute[]): void {
  if (place === texts.length) {
    for (const route of segment.routes) found.push(route);
    return;
  }
  const text = texts[place]!;
  const literal = segment.literals.get(text);
  if (literal !== undefined) collect(literal, texts, place + 1, found);
  if (segment.parameter !== undefined && text !== '') collect(segment.parameter, texts, place + 1, found);
}
