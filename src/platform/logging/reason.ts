/**
 * What went wrong, in one line to keep: Drizzle's own message is the statement with its parameters, which
 * hold addresses and secrets; the error behind it says what PostgreSQL said.
 */
export function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  return error.cause instanceof Error ? reasonOf(error.cause) : error.message;
}
