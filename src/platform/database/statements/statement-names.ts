import { createHash } from 'node:crypto';

/** On every connection each takes memory of the server's. */
const MOST = 500;

/** Prepares statements of transactions from their second use on, as pgjdbc and Npgsql do: parsing is half of their cost. */
export class StatementNames {
  private readonly names = new Map<string, string | undefined>();

  constructor(private readonly most = MOST) {}

  /** Undefined at the first use, and when all names are taken. The same text has one name everywhere. */
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
