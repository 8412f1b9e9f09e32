import { setTimeout as sleep } from 'node:timers/promises';
import type { FuzzDocument, FuzzOperation } from '../support/fuzz/document.js';
import type { Books } from './books.js';

const GIVE_UP_MS = 30_000;

export interface Request {
  operation: string;
  /** Values of the path, by name. */
  path?: Record<string, string>;
  headers: Record<string, string>;
  body?: unknown;
}

export interface Response {
  status: number;
  code?: string;
  headers: Headers;
  body: Record<string, unknown>;
}

/** A caller who repeats a request until it is acknowledged or refused, and notes undocumented answers. */
export class Client {
  private readonly operations: Map<string, FuzzOperation>;
  /** Nobody repeats after this. */
  isOver = false;

  constructor(
    private readonly url: string,
    document: FuzzDocument,
    private readonly books: Books,
  ) {
    this.operations = new Map(document.operations.map((operation) => [operation.id, operation]));
  }

  /** Undefined if the run ended before an answer other than 503. */
  async untilAnswered(request: Request): Promise<Response | undefined> {
    while (!this.isOver) {
      const answer = await this.once(request);
      if (answer !== undefined && answer.status !== 503) return answer;
      await sleep(100);
    }
    return undefined;
  }

  /** Undefined if the connection broke. */
  async once({ operation: id, path = {}, headers, body }: Request): Promise<Response | undefined> {
    const operation = this.operations.get(id)!;
    const target = operation.path.replaceAll(/\{(\w+)\}/g, (_, name: string) => encodeURIComponent(path[name]!));
    const startedAt = performance.now();
    try {
      const response = await fetch(this.url + target, {
        method: operation.method,
        // A new connection each, so that the balancer spreads them.
        headers: { connection: 'close', ...headers, ...(body === undefined ? {} : { 'content-type': 'application/json' }) },
        body: body === undefined ? undefined : JSON.stringify(body),
        signal: AbortSignal.timeout(GIVE_UP_MS),
      });
      const text = await response.text();
      const answer = { status: response.status, headers: response.headers, body: parsed(text), code: codeOf(text) };
      this.books.noteAnswer(answer.status, startedAt);
      this.check(operation, answer, text);
      return answer;
    } catch {
      this.books.noteBroken(startedAt);
      return undefined;
    }
  }

  private check({ id, answers }: FuzzOperation, { status, code }: Response, text: string): void {
    const documented = answers.get(status);
    const isDocumented = status < 400 ? (documented?.validate?.(parsed(text)) ?? documented !== undefined) : documented?.codes.has(code!);
    if (isDocumented !== true) this.books.undocumented.add(`${id}: ${status} ${text.slice(0, 300)}`);
  }
}

function parsed(text: string): Record<string, unknown> {
  return text.startsWith('{') ? (JSON.parse(text) as Record<string, unknown>) : {};
}

function codeOf(text: string): string | undefined {
  return parsed(text)['code'] as string | undefined;
}
