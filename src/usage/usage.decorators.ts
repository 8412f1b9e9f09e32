import { createParamDecorator, type ExecutionContext } from '@nestjs/common';
import type { Request, Response } from 'express';
import { principalOf } from '../access/principal.js';
import { UsageAnswer } from './usage-answer.js';
import type { UsageCaller } from './usage.service.js';

/** Whose usage a route is about, and who calls: the organization in the path, else the user who is signed in. */
export const OfUsage = createParamDecorator((_: unknown, context: ExecutionContext): UsageCaller => {
  const request = context.switchToHttp().getRequest<Request>();
  const principal = principalOf(request);
  const { organizationId } = request.params;
  if (typeof organizationId === 'string') {
    const owner = { kind: 'organization' as const, id: organizationId.toLowerCase() };
    if ('apiKeyId' in principal) return { owner, userId: null, mayName: 'members' };
    return { owner, userId: principal.userId, mayName: principal.role === 'admin' ? 'members' : 'nobody' };
  }
  if ('apiKeyId' in principal) throw new Error('@OfUsage() without an organization on a route that lets in API keys');
  return { owner: { kind: 'user', id: principal.userId }, userId: principal.userId, mayName: 'nobody' };
});

/** Where a route puts what became of an operation. */
export const Answer = createParamDecorator(
  (_: unknown, context: ExecutionContext) => new UsageAnswer(context.switchToHttp().getResponse<Response>()),
);
