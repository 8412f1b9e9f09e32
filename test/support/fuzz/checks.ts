import type { ValidateFunction } from 'ajv';
import type { DocumentedAnswer, FuzzDocument } from './document.js';
import type { FuzzAnswer, FuzzRequest } from './requests.js';

/** Generous limits: a busy machine is not a failure. */
const LONGEST_MS = 10_000;
const LARGEST_PROBLEM = 16_384;
const LARGEST_ANSWER = 2 ** 21;

/** Codes that every address may return, according to the document. */
const ANYWHERE = new Set([
  'malformed_request',
  'request_timeout',
  'expectation_failed',
  'headers_too_large',
  'malformed_body',
  'body_too_large',
  'unsupported_media_type',
]);

/** The errors in a response; empty for a correct one. */
export function errorsIn(document: FuzzDocument, request: FuzzRequest, answer: FuzzAnswer): string[] {
  const { status, headers, body, ms } = answer;
  // A refusal of unreadable headers cannot know that the request was a HEAD, which gets no body.
  if (status === 0) return request.method === 'HEAD' ? [] : [`the connection broke: ${body.toString()}`];
  const wrong: string[] = [];
  if (status >= 500) wrong.push(`status ${status}`);
  if (ms > LONGEST_MS) wrong.push(`took ${Math.round(ms)} ms`);
  if (body.length > (status >= 400 ? LARGEST_PROBLEM : LARGEST_ANSWER)) wrong.push(`${body.length} bytes`);
  if (headers['cache-control'] !== 'no-store') wrong.push(`cache-control ${String(headers['cache-control'])}`);
  if (headers['x-request-id'] === undefined) wrong.push('no X-Request-Id');
  const isOperation = request.method === request.operation.method;
  if (request.method === 'HEAD' || request.method === 'OPTIONS') return wrong;
  if (isPageForBrowser(request, answer)) return wrong;
  const documented = isOperation ? request.operation.answers.get(status) : undefined;
  if (status >= 400) wrong.push(...wrongProblem(shapeOf(document, documented, answer), answer));
  // Another method, or a path parameter with a slash, reaches another route or none.
  if (isOperation && !isOtherRoute(answer)) wrong.push(...undocumented(documented, answer));
  return wrong;
}

function isOtherRoute({ status, body }: FuzzAnswer): boolean {
  return (status === 404 && body.includes('"route_not_found"')) || (status === 405 && body.includes('"method_not_allowed"'));
}

/** Browsers open links in mails and get pages, also for failures. */
function isPageForBrowser({ operation, headers }: FuzzRequest, answer: FuzzAnswer): boolean {
  const isAsked = headers.some(([name, value]) => name === 'accept' && value.includes('text/html'));
  const hasPages = [...operation.answers.values()].some(({ contentTypes }) => contentTypes.includes('text/html'));
  return isAsked && hasPages && String(answer.headers['content-type']).startsWith('text/html');
}

/** Some problems have more members, which the document declares for the operation. */
function shapeOf(document: FuzzDocument, documented: DocumentedAnswer | undefined, { body }: FuzzAnswer): ValidateFunction {
  return (documented?.codes.has(codeOf(body)) ? documented.validate : undefined) ?? document.problem();
}

function wrongProblem(validate: ValidateFunction, { status, headers, body }: FuzzAnswer): string[] {
  const type = String(headers['content-type']);
  if (!type.startsWith('application/problem+json')) return [`a failure of type ${type}`];
  const problem = parsed(body);
  if (problem === undefined) return ['a problem that is no JSON'];
  if (!validate(problem)) return [`a problem that is none: ${messages(validate)}`];
  return (problem as { status: number }).status === status ? [] : ['a problem with another status'];
}

function undocumented(documented: DocumentedAnswer | undefined, { status, headers, body }: FuzzAnswer): string[] {
  if (ANYWHERE.has(codeOf(body))) return [];
  if (documented === undefined) return [`undocumented status ${status} ${codeOf(body)}`];
  if (status >= 400) return documented.codes.has(codeOf(body)) ? [] : [`undocumented code ${status} ${codeOf(body)}`];
  // Express adds a text for people to a redirect; only the header matters.
  if (status < 400 && status >= 300) return headers['location'] === undefined ? ['a redirect to nowhere'] : [];
  const type = String(headers['content-type'] ?? '').split(';', 1)[0]!;
  if (body.length === 0) return documented.contentTypes.length === 0 ? [] : ['no body where one is documented'];
  if (!documented.contentTypes.includes(type)) return [`undocumented type ${type}`];
  const { validate } = documented;
  if (validate === undefined) return [];
  const value = parsed(body);
  if (value === undefined) return ['an answer that is no JSON'];
  return validate(value) ? [] : [`not as documented: ${messages(validate)}`];
}

function messages({ errors }: { errors?: { instancePath: string; message?: string; params: object }[] | null }): string {
  return (errors ?? [])
    .slice(0, 3)
    .map(({ instancePath, message, params }) => `${instancePath} ${message} ${JSON.stringify(params)}`)
    .join('; ');
}

function codeOf(body: Buffer): string {
  const problem: { code?: unknown } | undefined = parsed(body);
  return String(problem?.code);
}

function parsed(body: Buffer): object | undefined {
  try {
    const value: unknown = JSON.parse(body.toString());
    return typeof value === 'object' && value !== null ? value : undefined;
  } catch {
    // The caller reports the invalid body.
    return undefined;
  }
}
