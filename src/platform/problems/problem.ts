import { type OutgoingHttpHeaders, STATUS_CODES } from 'node:http';

/** A caller fixes the first mistakes and sends again. More would only make the response large. */
export const MAX_ERRORS = 20;
/** A path contains names that the caller chose. */
const MAX_PATH = 200;
const MAX_MESSAGE = 500;

/** A mistake in a request, at `body.name`, `query.limit` or `params.userId`. */
export interface InvalidField {
  path: string;
  message: string;
}

/** A mistake in a value that a service got. The HTTP layer knows its place in the request. */
export interface FieldError {
  field: string;
  message: string;
}

interface ProblemDetails {
  /** Replaces the sentence of the class. */
  detail?: string;
  errors?: (InvalidField | FieldError)[];
  headers?: OutgoingHttpHeaders;
  /** Extension members of this kind of problem (RFC 9457, 3.2). */
  extensions?: Record<string, unknown>;
}

export class Problem extends Error {
  declare readonly status: number;
  declare readonly code: string;
  readonly errors?: (InvalidField | FieldError)[];
  readonly headers: OutgoingHttpHeaders;
  readonly extensions?: Record<string, unknown>;

  constructor(detail: string, { errors, headers, extensions }: ProblemDetails = {}) {
    super(detail);
    this.errors = errors;
    this.headers = headers ?? {};
    this.extensions = extensions;
  }
}

export interface ProblemClass {
  new (details?: ProblemDetails): Problem;
  readonly status: number;
  readonly code: string;
  readonly detail: string;
}

/**
 * The base class of one failure: `class UserNotFound extends problem(404, 'user_not_found', '…') {}`.
 * @param code permanent and public @param detail a sentence the caller can act on
 */
export function problem(status: number, code: string, detail: string): ProblemClass {
  return class extends Problem {
    static readonly status = status;
    static readonly code = code;
    static readonly detail = detail;
    override readonly status = status;
    override readonly code = code;

    constructor(details: ProblemDetails = {}) {
      super(details.detail ?? detail, details);
    }
  };
}

/** @param place where the request has the fields of a `FieldError` */
export function problemBody({ status, code, message, errors, extensions }: Problem, requestId: string, place: 'body' | 'query' = 'body') {
  return {
    type: `https://tenantry.dev/problems/${code}`,
    title: STATUS_CODES[status],
    status,
    detail: message,
    code,
    requestId,
    errors: errors && bounded(locate(errors, place)),
    ...extensions,
  };
}

export function locate(errors: readonly (InvalidField | FieldError)[], place: 'body' | 'query'): InvalidField[] {
  return errors.map((error) => ('path' in error ? error : { path: `${place}.${error.field}`, message: error.message }));
}

export function bounded(errors: InvalidField[], max = MAX_ERRORS): InvalidField[] {
  return errors.slice(0, max).map(({ path, message }) => ({ path: shortened(path, MAX_PATH), message: shortened(message, MAX_MESSAGE) }));
}

function shortened(text: string, max: number): string {
  return text.length <= max ? text : `${text.slice(0, max)}…`.toWellFormed();
}
