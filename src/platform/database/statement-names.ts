import { createHash } from 'node:crypto';

/** On every connection each takes memory of the server's. */
const MOST = 500;

/**
 * Which statements of transactions are worth preparing: those that come again, as pgjdbc and Npgsql do it. The
 * server then parses and plans them once for each connection, which is half of what a short statement costs it.
 */
export class StatementNames {
  private readonly names = new Map<string, string | undefined>();

  constructor(private readonly most = MOST) {}

  /** Undefined for the first time, and for what comes when there are enough. The same text has one name everywhere. */
  of(text: string): string | undefined {
    if (this.names.has(text)) {
      const name = this.names.get(text) ?? `t_${createHash('sha256').update(text).digest('base64url').slice(0, 20)}`;
      this.names.set(text, name);
      return name;
    }
    if (this.names.size < this.most) this.names.set(text, undefined);
    return undefined;
  }
}
