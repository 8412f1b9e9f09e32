/** The acknowledged effects, noted by the callers who received the answers. */
export class Books {
  /** Tokens of usage events, by organization and event id. */
  readonly usage = new Map<string, Map<string, number>>();
  /** Ids of organizations by their unique names. */
  readonly organizations = new Map<string, string>();
  /** Addresses of invited people. */
  readonly invitations = new Set<string>();
  /** Clerk users whose webhook was accepted. */
  readonly clerkUsers = new Set<string>();
  /** Sessions at Clerk of which the end was acknowledged. */
  readonly endedClerkSessions = new Set<string>();
  /** Messages that were accepted. */
  readonly messages = { polar: new Set<string>(), dodo: new Set<string>() };
  readonly liveSessions = new Set<string>();
  readonly revokedSessions = new Set<string>();
  /** Organizations by their keys. */
  readonly liveKeys = new Map<string, string>();
  readonly revokedKeys = new Map<string, string>();
  /** Revoked sessions and keys that worked right after. */
  readonly revived = new Set<string>();
  /** Organizations that have paid for the plan Pro. */
  readonly buyers = new Set<string>();
  /** Organizations that had paid and were deleted. */
  readonly deletedBuyers = new Set<string>();
  checkouts = 0;
  readonly undocumented = new Set<string>();
  readonly statuses: Record<string, number> = {};
  slowestMs = 0;
  /** When acknowledged requests started and ended. */
  private readonly successes: { startedAt: number; endedAt: number }[] = [];

  noteUsage(organizationId: string, eventId: string, tokens: number): void {
    const events = this.usage.get(organizationId) ?? new Map<string, number>();
    this.usage.set(organizationId, events.set(eventId, tokens));
  }

  noteAnswer(status: number, startedAt: number): void {
    this.count(String(status), startedAt);
    if (status < 300) this.successes.push({ startedAt, endedAt: performance.now() });
  }

  noteBroken(startedAt: number): void {
    this.count('broken', startedAt);
  }

  /** From a moment until a request that started after it succeeds, in milliseconds. */
  recoveryAfter(moment: number): number | undefined {
    const ends = this.successes.filter(({ startedAt }) => startedAt >= moment).map(({ endedAt }) => endedAt);
    return ends.length === 0 ? undefined : ends.reduce((a, b) => Math.min(a, b)) - moment;
  }

  summary(): string {
    const usage = [...this.usage.values()].reduce((sum, { size }) => sum + size, 0);
    return [
      `${usage} usage events in ${this.usage.size} organizations`,
      `${this.organizations.size} organizations`,
      `${this.invitations.size} invitations`,
      `${this.clerkUsers.size + this.messages.polar.size + this.messages.dodo.size} webhooks`,
      `${this.liveSessions.size + this.revokedSessions.size} sessions (${this.revokedSessions.size} revoked)`,
      `${this.liveKeys.size + this.revokedKeys.size} API keys (${this.revokedKeys.size} revoked)`,
      `${this.checkouts} checkouts`,
      `${this.deletedBuyers.size} deletions of buyers`,
      `${this.endedClerkSessions.size} ends of Clerk sessions`,
    ].join(', ');
  }

  private count(status: string, startedAt: number): void {
    this.statuses[status] = (this.statuses[status] ?? 0) + 1;
    this.slowestMs = Math.max(this.slowestMs, performance.now() - startedAt);
  }
}
