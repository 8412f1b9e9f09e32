import type { IncomingMessage } from 'node:http';
import { MalformedBody } from '../../problems/problems.errors.js';

export const MAX_FORM_BYTES = 8 * 1024;
const MAX_FIELDS = 10;

/** The pages behind links in mails have no script, so that a browser sends their forms. No other route reads one. */
const FORM_ROUTES = /^\/v1\/auth\/(?:verify-email(?:\/reject)?|change-email\/confirm)\/?(?:$|\?)/i;

export function isForm({ url = '', headers }: Pick<IncomingMessage, 'url' | 'headers'>): boolean {
  return FORM_ROUTES.test(url) && /^application\/x-www-form-urlencoded\s*(?:;|$)/i.test(headers['content-type'] ?? '');
}

/** @throws {MalformedBody} for a name that comes twice, or too many names */
export function parseForm(body: Buffer): Record<string, string> {
  const entries = [...new URLSearchParams(body.toString('utf8'))];
  const form = new Map(entries);
  if (entries.length > MAX_FIELDS || form.size < entries.length) throw new MalformedBody({ detail: 'The form has too many fields.' });
  return Object.fromEntries(form);
}
