import { problem } from './problem.js';

export class InvalidRequest extends problem(400, 'invalid_request', 'The request is not valid; see `errors`.') {}
export class MalformedBody extends problem(400, 'malformed_body', 'The body is not valid JSON.') {}
export class InvalidCursor extends problem(400, 'invalid_cursor', 'The cursor does not belong to this list. Start again without one.') {}
export class RouteNotFound extends problem(404, 'route_not_found', 'There is nothing at this address.') {}
export class BodyTooLarge extends problem(413, 'body_too_large', 'The body is larger than this route takes.') {}
export class UnsupportedMediaType extends problem(415, 'unsupported_media_type', 'Send the body as application/json.') {}
export class InternalError extends problem(
  500,
  'internal_error',
  'Something went wrong on our side. Quote the request id when you report it.',
) {}
export class ServiceUnavailable extends problem(
  503,
  'service_unavailable',
  'Something this service stands on is away. Try again shortly.',
) {}
export class ManagedByClerk extends problem(409, 'managed_by_clerk', 'Clerk owns this record. Change it there.') {}
