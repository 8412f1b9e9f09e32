import { readFileSync } from 'node:fs';
import { BUSY_USER, LARGE_ORGANIZATION, WEBHOOK_EVENT } from './large-tables.js';
import { ownBuild } from './build.js';

interface Parameter {
  $ref?: string;
  in: string;
  name: string;
  schema: { enum?: string[]; type?: string };
}

interface Document {
  paths: Record<string, { get?: { operationId: string; parameters?: Parameter[] } }>;
  components: { parameters?: Record<string, Parameter> };
}

/** A GET operation with a choice of filters and a sort. */
export interface Read {
  operation: string;
  path: string;
  query: Record<string, string>;
  isList: boolean;
}

/** They answer with a redirect, or find one row by a secret. */
const LINKS = new Set(['finishProviderSignIn', 'showSignInError', 'openPasswordReset', 'verifyEmail', 'confirmEmailChange']);
/** A download reads all rows that it contains. */
const DOWNLOADS = new Set(['exportUsage', 'exportOwnUsage']);

const PATH_VALUES: Record<string, string> = {
  organizationId: LARGE_ORGANIZATION,
  userId: BUSY_USER,
  slug: 'organization-0',
  webhookEventId: WEBHOOK_EVENT,
};

const daysAgo = (days: number) => new Date(Date.now() - days * 86_400_000).toISOString();
const userOf = (n: number) => `00000000-0000-7000-8000-${String(n).padStart(12, '0')}`;

/** For each filter: values of many rows, of few and of none. That of a new list must be added. */
const FILTER_VALUES: Record<string, string[]> = {
  email: ['person77@example.com'],
  clerkUserId: ['clerk_79'],
  search: ['anna', 'family77', 'bruno person', 'nobody'],
  action: ['member.updated', 'organization.transferred', 'nothing.happened'],
  actorId: [userOf(0), userOf(1234), userOf(999_999_999)],
  targetId: [userOf(100), userOf(999_999_999)],
  ownerId: [LARGE_ORGANIZATION, userOf(999_999_999)],
  userId: [userOf(10), userOf(7), userOf(999_999_999)],
  model: ['model-1', 'rare-model', 'unknown-model'],
  type: ['user.updated', 'organization.deleted', 'unknown.type'],
  at: [daysAgo(100)],
  createdFrom: [daysAgo(30)],
  createdBefore: [daysAgo(0.1), daysAgo(10_000)],
  receivedFrom: [daysAgo(1)],
  receivedBefore: [daysAgo(0.1), daysAgo(10_000)],
  from: [daysAgo(1), daysAgo(30), daysAgo(190), daysAgo(364)],
  to: [daysAgo(0), daysAgo(200)],
  timeZone: ['UTC', 'Asia/Kolkata'],
  provider: ['clerk', 'polar', 'dodo'],
};

/** Left out of the combinations. */
const NO_FILTERS = new Set(['limit', 'cursor']);

/** Every GET operation of the document: plain, with every filter and sort, and, with `inPairs`, with every two of them. */
export function readsOf({ limit, inPairs }: { limit: number; inPairs: boolean }): Read[] {
  const document = JSON.parse(readFileSync(`${ownBuild.root}/openapi.json`, 'utf8')) as Document;
  return Object.entries(document.paths).flatMap(([template, { get }]) => {
    if (get === undefined || LINKS.has(get.operationId) || DOWNLOADS.has(get.operationId)) return [];
    const parameters = (get.parameters ?? []).map((one) =>
      one.$ref === undefined ? one : document.components.parameters![one.$ref.split('/').at(-1)!]!,
    );
    const path = template.replaceAll(/\{(\w+)\}/g, (_, parameter: string) => PATH_VALUES[parameter] ?? missing(get.operationId, parameter));
    const isList = parameters.some((one) => one.name === 'cursor');
    const filters = parameters.filter((one) => one.in === 'query' && !NO_FILTERS.has(one.name));
    return choices(get.operationId, filters, inPairs).map((query) => ({
      operation: get.operationId,
      path,
      query: { ...(isList && { limit: String(limit) }), ...query },
      isList,
    }));
  });
}

function choices(operation: string, filters: Parameter[], inPairs: boolean): Record<string, string>[] {
  const pairsOf = (filter: Parameter) => valuesOf(operation, filter).map((value) => ({ [filter.name]: value }));
  const single = filters.flatMap(pairsOf);
  if (!inPairs) return [{}, ...single];
  const double = filters.flatMap((one, index) =>
    pairsOf(one).flatMap((first) =>
      filters
        .slice(index + 1)
        .flatMap(pairsOf)
        .map((second) => ({ ...first, ...second })),
    ),
  );
  return [{}, ...single, ...double];
}

function valuesOf(operation: string, { name, schema }: Parameter): string[] {
  if (schema.enum !== undefined) return schema.enum;
  if (schema.type === 'boolean') return ['true', 'false'];
  return FILTER_VALUES[name] ?? missing(operation, name);
}

function missing(operation: string, parameter: string): never {
  throw new Error(`bench/support/reads.ts has no value for ${parameter} of ${operation}`);
}
