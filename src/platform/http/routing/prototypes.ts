import { IncomingMessage, ServerResponse } from 'node:http';
import type { Express } from 'express';

/**
 * Classes for Node's server that already have the prototypes of Express's requests and responses. Express sets the
 * prototype of each object, which costs V8 its fast access to their fields; setting the same one again changes nothing.
 */
export function createdByNode(express: Express) {
  const { request, response } = express;
  class Request extends IncomingMessage {
    private parsedQuery?: unknown;

    /** Express parses it at each access. */
    get query(): unknown {
      return (this.parsedQuery ??= Reflect.get(request, 'query', this));
    }
  }
  class Response extends ServerResponse {}
  Object.setPrototypeOf(Request.prototype, request);
  Object.setPrototypeOf(Response.prototype, response);
  Object.assign(express, { request: Request.prototype, response: Response.prototype });
  return { IncomingMessage: Request, ServerResponse: Response };
}
