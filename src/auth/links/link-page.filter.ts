import { Catch } from '@nestjs/common';
import type { Request, Response } from 'express';
import type { Problem } from '../../platform/problems/problem.js';
import { ProblemFilter } from '../../platform/problems/problem.filter.js';
import { confirmationPage, LINK_PAGES, type LinkCopy, prefersHtml, sendPage } from './link-answers.js';
import type { LinkPage } from './link-page.js';

const RETRYABLE = new Set(['wrong_password', 'link_proof_required', 'rate_limited', 'service_unavailable']);

/** Shows problems as a page to browsers, and as JSON to other clients. */
@Catch()
export class LinkPageFilter extends ProblemFilter {
  protected override send(request: Request, response: Response, problem: Problem): void {
    if (!prefersHtml(request)) return super.send(request, response, problem);
    for (const [name, value] of Object.entries(problem.headers)) if (value !== undefined) response.setHeader(name, value);
    response.status(problem.status);
    sendPage(response, pageOf(request, problem));
  }
}

function pageOf({ route, body }: Request, problem: Problem): LinkPage {
  const { path } = route as { path: string };
  const copy: LinkCopy | undefined = Object.values(LINK_PAGES).find(({ action }) => action === path);
  const { token, callbackURL } = fieldsOf(body);
  if (copy !== undefined && token !== undefined && RETRYABLE.has(problem.code))
    return confirmationPage(copy, { token, callbackURL, needsPassword: copy !== LINK_PAGES.rejection, error: retryMessage(problem) });
  if (problem.code === 'invalid_request')
    return { title: 'This link is incomplete', text: 'Copy the whole link from the mail and open it again.' };
  return { title: problem.code === 'invalid_token' ? 'This link no longer works' : 'Something went wrong', text: problem.message };
}

/** The usual text of a rate limit mentions a header, which browsers do not show. */
function retryMessage({ code, message, headers }: Problem): string {
  const minutes = Math.ceil(Number(headers['retry-after']) / 60);
  return code === 'rate_limited' ? `Too many attempts. Try again in ${minutes} ${minutes === 1 ? 'minute' : 'minutes'}.` : message;
}

function fieldsOf(body: unknown): { token?: string; callbackURL?: string } {
  const { token, callbackURL } = typeof body === 'object' && body !== null ? (body as Record<string, unknown>) : {};
  return { token: textOf(token), callbackURL: textOf(callbackURL) };
}

function textOf(value: unknown): string | undefined {
  return typeof value === 'string' ? value : undefined;
}
