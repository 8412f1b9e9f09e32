const MOST = 10_000;

/**
 * The callers of credentials that were looked up lately. Only for counting: a call is counted or refused while its
 * credential is looked up. Nobody is identified by this memory.
 */
export class KnownCallers {
  private readonly callers = new Map<string, string>();

  get(credential: string): string | undefined {
    return this.callers.get(credential);
  }

  /** @param caller undefined when the credential is not valid any more */
  set(credential: string, caller: string | undefined): void {
    this.callers.delete(credential);
    if (caller === undefined) return;
    this.callers.set(credential, caller);
    if (this.callers.size > MOST) this.callers.delete(this.callers.keys().next().value!);
  }
}
