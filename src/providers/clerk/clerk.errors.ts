interface FailureDetails {
  status?: number;
  /** Whether Clerk itself says that it knows no such thing. */
  isMissing?: boolean;
  retryAfterSeconds?: number;
  /** Whether the same call may succeed later. */
  mayPass?: boolean;
  cause?: unknown;
}

/** Clerk's Backend API did not do what it was asked for. */
export class ClerkApiFailed extends Error {
  readonly status?: number;
  readonly isMissing: boolean;
  readonly retryAfterSeconds: number;
  readonly mayPass: boolean;

  constructor(
    what: string,
    why: string,
    { status, isMissing = false, retryAfterSeconds = 0, mayPass = false, cause }: FailureDetails = {},
  ) {
    super(`Clerk did not ${what}: ${why}`, { cause });
    this.status = status;
    this.isMissing = isMissing;
    this.retryAfterSeconds = retryAfterSeconds;
    this.mayPass = mayPass;
  }
}

/** Why nothing was compared, or nothing repaired. */
export class CannotReconcile extends Error {}
