import type { Owner } from '../owners/owner.js';

/** The owner of the usage and the user who records it. */
export interface UsageCaller {
  owner: Owner;
  /** Null for an API key. */
  userId: string | null;
  /** The other users the caller may record for. `members` includes past members. */
  mayRecordFor: 'members' | 'nobody';
}
