import { problem } from './problem.js';

export class InvalidRequest extends problem(400, 'invalid_request', 'The request is not valid; see `errors`.') {}
export class MalformedBody extends problem(400, 'malformed_body', 'The body is not valid JSON.') {}
export class MalformedRequest extends problem(400, 'malformed_request', 'The request is not valid HTTP.') {}
export class InvalidCursor extends problem(400, 'invalid_cursor', 'The cursor does not belong to this list. Start again without one.') {}
export class RouteNotFound extends problem(404, 'route_not_found', 'There is nothing at this address.') {}
export class MethodNotAllowed extends problem(405, 'method_not_allowed', 'This address accepts only the methods in the Allow header.') {}
export class RequestTimeout extends problem(408, 'request_timeout', 'The request did not arrive in time. Send it again.') {}
export class BodyTooLarge extends problem(413, 'body_too_large', 'The body is larger than this route accepts.') {}
export class UnsupportedMediaType extends problem(415, 'unsupported_media_type', 'Send the body as application/json.') {}
export class ExpectationFailed extends problem(417, 'expectation_failed', 'The only supported expectation is 100-continue.') {}
export class HeadersTooLarge extends problem(431, 'headers_too_large', 'The address and the headers together are too large.') {}
export class InternalError extends problem(
  500,
  'internal_error',
  'Something went wrong on our side. Quote the request id when you report it.',
) {}
export class ServiceUnavailable extends problem(503, 'service_unavailable', 'A service we depend on is unavailable. Try again shortly.') {}
export class ManagedByClerk extends problem(409, 'managed_by_clerk', 'Clerk manages this record. Change it there.') {}
