import type { Owner } from '../owners/owner.js';

/** The owner of the usage and the user who records it. */
export interface UsageCaller {
  owner: Owner;
  /** Null for an API key. */
  userId: string | null;
  /** Whose usage the caller may record besides their own. `members` includes past members. */
  mayRecordFor: 'members' | 'nobody';
}
