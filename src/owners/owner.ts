export const OWNER_KINDS = ['user', 'organization'] as const;
export type OwnerKind = (typeof OWNER_KINDS)[number];

/** The user or organization that a subscription or usage belongs to. */
export interface Owner {
  kind: OwnerKind;
  id: string;
}
