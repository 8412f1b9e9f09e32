interface FailureDetails {
  status?: number;
  /** Whether Clerk itself says that it knows no such thing. */
  isNotFound?: boolean;
  retryAfterSeconds?: number;
  /** Whether the same call may succeed later. */
  isRetryable?: boolean;
  cause?: unknown;
}

/** Clerk's Backend API did not do what it was asked for. */
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
    super(`Clerk did not ${operation}: ${reason}`, { cause });
    this.status = status;
    this.isNotFound = isNotFound;
    this.retryAfterSeconds = retryAfterSeconds;
    this.isRetryable = isRetryable;
  }
}
