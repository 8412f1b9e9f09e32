import { setTimeout as sleep } from 'node:timers/promises';
import type { FuzzDocument, FuzzOperation } from '../../support/fuzz/document.js';
import type { Books } from './books.js';

const GIVE_UP_MS = 30_000;

export interface Request {
  operation: string;
  /** Values of the path, by name. */
  path?: Record<string, string>;
  query?: Record<string, string>;
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
  /** By the documents of the versions that run. */
  private readonly operations: Map<string, FuzzOperation>[];
  /** Nobody repeats after this. */
  isOver = false;

  constructor(
    private readonly url: string,
    documents: FuzzDocument[],
    private readonly books: Books,
  ) {
    this.operations = documents.map(({ operations }) => new Map(operations.map((operation) => [operation.id, operation])));
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
  async once({ operation: id, path = {}, query = {}, headers, body }: Request): Promise<Response | undefined> {
    const operation = this.operations[0]!.get(id)!;
    const search = new URLSearchParams(query).toString();
    const target = operation.path.replaceAll(/\{(\w+)\}/g, (_, name: string) => encodeURIComponent(path[name]!));
    const startedAt = performance.now();
    try {
      const response = await fetch(`${this.url}${target}${search === '' ? '' : `?${search}`}`, {
        method: operation.method,
        // A new connection each, so that the balancer spreads them.
        headers: { connection: 'close', ...headers, ...(body === undefined ? {} : { 'content-type': 'application/json' }) },
        body: body === undefined ? undefined : JSON.stringify(body),
        signal: AbortSignal.timeout(GIVE_UP_MS),
      });
      const text = await response.text();
      const answer = { status: response.status, headers: response.headers, body: parsed(text), code: codeOf(text) };
      this.books.noteAnswer(answer.status, startedAt);
      this.check(id, answer, text);
      return answer;
    } catch {
      this.books.noteBroken(startedAt);
      return undefined;
    }
  }

  private check(id: string, { status, code }: Response, text: string): void {
    const isDocumented = this.operations.some((operations) => {
      const documented = operations.get(id)?.answers.get(status);
      if (status >= 400) return documented?.codes.has(code!) === true;
      return documented?.validate?.(parsed(text)) ?? documented !== undefined;
    });
    if (!isDocumented) this.books.undocumented.add(`${id}: ${status} ${text.slice(0, 300)}`);
  }
}

function parsed(text: string): Record<string, unknown> {
  return text.startsWith('{') ? (JSON.parse(text) as Record<string, unknown>) : {};
}

function codeOf(text: string): string | undefined {
  return parsed(text)['code'] as string | undefined;
}
