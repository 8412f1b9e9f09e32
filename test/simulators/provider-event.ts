/** An event of a provider, and what every delivery of it carries. */
export interface ProviderEvent {
  messageId: string;
  type: string;
  /** What the event is about. */
  objectId: string;
  at: Date;
  /** Rendered once and for all, or anew at each attempt (by the account's clock). */
  body: string | ((attemptAt: Date) => string);
}

export function bodyAt({ body }: ProviderEvent, attemptAt: Date): string {
  return typeof body === 'string' ? body : body(attemptAt);
}
