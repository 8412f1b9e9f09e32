import type { TenancyMutation } from '../support/mutations.js';

export const mutations: TenancyMutation[] = [
  { within: 'IdempotentRequest', search: 'principal: `${kind}:${id}`', replace: "principal: 'everybody'", callers: ['idempotency key'] },
];
