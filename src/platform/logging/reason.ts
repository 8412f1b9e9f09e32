/** One line for an error. Drizzle's message holds the statement's parameters, so the error behind it is used. */
export function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  return error.cause instanceof Error ? reasonOf(error.cause) : error.message;
}
