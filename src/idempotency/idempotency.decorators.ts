import { createHash } from 'node:crypto';
import { applyDecorators, createParamDecorator, type ExecutionContext } from '@nestjs/common';
import { ApiHeader } from '@nestjs/swagger';
import type { Request, Response } from 'express';
import { principalOf } from '../access/principal.js';
import { Problems } from '../platform/problems/problems.decorators.js';
import { InvalidRequest } from '../platform/problems/problems.errors.js';
import type { RequestIdentity } from './idempotency.repository.js';
import { IdempotencyKeyInFlight, IdempotencyKeyReused } from './idempotency.errors.js';

const HEADER = 'Idempotency-Key';
const VISIBLE_ASCII = /^[\x21-\x7e]{1,255}$/;

/** A string of structured fields (RFC 9651, 3.3.3). */
const QUOTED = /^"((?:[\x20\x21\x23-\x5b\x5d-\x7e]|\\["\\])*)"$/;

/** draft-ietf-httpapi-idempotency-key-header puts the key in quotes; most clients send it without. */
function unquoted(header: string): string {
  const [, content] = QUOTED.exec(header) ?? [];
  return content === undefined ? header : content.replaceAll(/\\(["\\])/g, '$1');
}

export interface IdempotentCall {
  identity?: RequestIdentity;
  requestHash: string;
  markReplayed(): void;
}

export const Idempotent = (): MethodDecorator =>
  applyDecorators(
    ApiHeader({
      name: HEADER,
      required: false,
      description:
        'Any string of yours, alone or in double quotes (a structured-field string): `"a"` is the same key as `a`. For 24 hours, the same key and body get the same response, marked `Idempotent-Replayed: true`, and take effect only once.',
      schema: { type: 'string', minLength: 1, maxLength: 255 },
      example: '5f1c6c9e-order-42',
    }),
    Problems(IdempotencyKeyInFlight, IdempotencyKeyReused),
  );

export const IdempotentRequest = createParamDecorator((_: unknown, context: ExecutionContext): IdempotentCall => {
  const http = context.switchToHttp();
  const [request, response] = [http.getRequest<Request>(), http.getResponse<Response>()];
  const headerValue = request.headers['idempotency-key'];
  const key = typeof headerValue === 'string' ? unquoted(headerValue) : headerValue;
  if (key !== undefined && (typeof key !== 'string' || !VISIBLE_ASCII.test(key))) {
    throw new InvalidRequest({ errors: [{ path: `headers.${HEADER}`, message: `${HEADER} must be 1 to 255 visible ASCII characters` }] });
  }
  const { id, kind } = principalOf(request).actor;
  // Includes the organization, so that the same key can be used in another tenant.
  const route = (request.route as { path: string }).path.replace(':organizationId', String(request.params['organizationId']).toLowerCase());
  return {
    identity:
      key === undefined ? undefined : { principal: `${kind}:${id}`, method: request.method, route, key, rawKey: String(headerValue) },
    requestHash: createHash('sha256')
      .update(`${request.originalUrl}\n${JSON.stringify(request.body ?? null)}`)
      .digest('base64url'),
    markReplayed: () => void response.setHeader('Idempotent-Replayed', 'true'),
  };
});
