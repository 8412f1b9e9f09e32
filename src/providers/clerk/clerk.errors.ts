interface FailureDetails {
  status?: number;
  /** Clerk itself reports that the object does not exist. */
  isNotFound?: boolean;
  retryAfterSeconds?: number;
  isRetryable?: boolean;
  cause?: unknown;
}

/** A call to Clerk's Backend API failed. */
export class ClerkApiFailed extends Error {
  readonly status?: number;
  readonly isNotFound: boolean;
  readonly retryAfterSeconds: number;
  readonly isRetryable: boolean;

  constructor(
    operation: string,
    reason: string,
    { status, isNotFound = false, retryAfterSeconds = 0, isRetryable = false, cause }: FailureDetails = {},
  ) {
    super(`Clerk could not ${operation}: ${reason}`, { cause });
    this.status = status;
    this.isNotFound = isNotFound;
    this.retryAfterSeconds = retryAfterSeconds;
    this.isRetryable = isRetryable;
  }
}
