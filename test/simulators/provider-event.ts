/** An event of a provider, and the contents of its deliveries. */
export interface ProviderEvent {
  messageId: string;
  type: string;
  /** The id of the object that the event reports. */
  objectId: string;
  at: Date;
  /** Either rendered once, or rendered at each attempt with the account's current state. */
  body: string | ((attemptAt: Date) => string);
}

export function bodyAt({ body }: ProviderEvent, attemptAt: Date): string {
  return typeof body === 'string' ? body : body(attemptAt);
}
