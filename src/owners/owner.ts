export const OWNER_KINDS = ['user', 'organization'] as const;
export type OwnerKind = (typeof OWNER_KINDS)[number];

/** Whom something belongs to that is paid for, or metered. */
export interface Owner {
  kind: OwnerKind;
  id: string;
}
