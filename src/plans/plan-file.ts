import { readFileSync } from 'node:fs';
import { z } from 'zod';
import { ConfigError, type PlanSettings } from '../platform/config/config.js';
import { BILLING_PROVIDERS, type BillingProviderName, type Plan, type Tier, TIERS } from './plans.js';

export interface PlanCatalog {
  plans: Plan[];
  aliases: Record<string, Tier>;
}

const must = (be: string) => ({ error: ({ input }: { input?: unknown }) => (input === undefined ? 'is missing' : `must be ${be}`) });

const nonEmptyText = z.string(must('a text')).regex(/\S/, 'must not be empty');
const amount = z.int(must('a whole number or null')).min(0, 'must not be negative').nullable();
const rate = z.int(must('a whole number or null')).min(1, 'must be at least 1').nullable();
const feature = z.string(must('a text')).regex(/^[a-z][a-z0-9_]*$/, 'must be like audit_log');

const limits = z.strictObject(
  {
    tokensPerPeriod: amount,
    tokenLimit: z.enum(['hard', 'soft'], must('hard or soft')),
    requestsPerMinute: rate,
    tokensPerMinute: rate,
    seats: amount,
    perSeat: z.boolean(must('true or false')),
    features: z.array(feature, must('a list')),
  },
  must('an object'),
);

const plan = z.strictObject(
  {
    name: nonEmptyText,
    description: z.string(must('a text')),
    limits,
    onRefund: z.enum(['keep', 'end'], must('keep or end')).default('keep'),
  },
  must('an object'),
);

const alias = nonEmptyText.refine((name) => !(TIERS as readonly string[]).includes(name), 'is a plan itself');

const product = z.strictObject(
  { provider: z.enum(BILLING_PROVIDERS, must(oneOf(BILLING_PROVIDERS))), productId: nonEmptyText, plan: nonEmptyText },
  must('an object'),
);

/** An id may contain anything, so only the first colon and the last equals sign separate. */
const ENTRY = /^(?<provider>[^:]+):(?<productId>.+)=(?<plan>[^=]+)$/;

const entry = z
  .string()
  .regex(ENTRY, 'must be provider:product=plan')
  .transform((text) => ({ ...ENTRY.exec(text)!.groups }))
  .pipe(product);

const planFile = z.strictObject(
  {
    plans: z.record(z.enum(TIERS), plan, must('an object')),
    aliases: z.record(alias, z.enum(TIERS, must(oneOf(TIERS))), must('an object')).default({}),
    products: z.array(z.unknown(), must('a list')).default([]),
  },
  must('an object'),
);

/** The aliases and products of an invalid file, so that one mistake does not hide or cause another. */
const outline = z
  .object({ aliases: z.record(z.string(), z.unknown()).catch({}), products: z.array(z.unknown()).catch([]) })
  .catch({ aliases: {}, products: [] });

interface ProductMapping extends z.infer<typeof product> {
  location: string;
}

export function loadPlans(settings: PlanSettings): PlanCatalog {
  const { catalog, mistakes } = readPlans(settings);
  if (catalog === undefined) throw new ConfigError(mistakes);
  return catalog;
}

export function planMistakes(settings: PlanSettings): string[] {
  return readPlans(settings).mistakes;
}

function readPlans({ plansFile, billingProducts }: PlanSettings): { catalog?: PlanCatalog; mistakes: string[] } {
  let content: unknown;
  try {
    content = JSON.parse(readFileSync(plansFile, 'utf8'));
  } catch (error) {
    const what = error instanceof SyntaxError ? 'is not JSON' : 'cannot be read';
    return { mistakes: [`${plansFile} ${what}: ${(error as Error).message}`] };
  }
  const parsed = planFile.safeParse(content);
  const { aliases, products } = outline.parse(content);
  const read = [
    ...products.map((value, index) => ({ location: `${plansFile} products[${index}]`, ...product.safeParse(value) })),
    ...billingProducts.map((text) => ({ location: `BILLING_PRODUCTS ${text}`, ...entry.safeParse(text) })),
  ];
  const mappings = read.flatMap(({ location, data }) => (data === undefined ? [] : [{ location, ...data }]));
  const mistakes = [
    ...describeIssues(plansFile, parsed.error),
    ...read.flatMap(({ location, error }) => describeIssues(location, error)),
    ...contradictions(mappings, aliases),
  ];
  return parsed.success && mistakes.length === 0 ? { catalog: catalogOf(parsed.data, mappings), mistakes } : { mistakes };
}

function contradictions(mappings: ProductMapping[], aliases: Record<string, unknown>): string[] {
  const tiers = new Map<string, unknown>([...Object.entries(aliases), ...TIERS.map((tier) => [tier, tier] as const)]);
  const first = new Map<string, ProductMapping>();
  return mappings.flatMap((mapping) => {
    const { location, provider, productId, plan: name } = mapping;
    if (!tiers.has(name)) return [`${location}: there is no plan ${name}`];
    const key = `${provider}:${productId}`;
    const other = first.get(key) ?? mapping;
    first.set(key, other);
    return tiers.get(name) === tiers.get(other.plan)
      ? []
      : [`${location}: ${key} is already of the plan ${other.plan} (${other.location})`];
  });
}

function catalogOf({ plans, aliases }: z.infer<typeof planFile>, mappings: ProductMapping[]): PlanCatalog {
  const productsOf = (tier: Tier, provider: BillingProviderName) => {
    const ofTier = mappings.filter((mapping) => mapping.provider === provider && (aliases[mapping.plan] ?? mapping.plan) === tier);
    return [...new Set(ofTier.map(({ productId }) => productId))];
  };
  return {
    plans: TIERS.map((tier) => ({ tier, ...plans[tier], products: { polar: productsOf(tier, 'polar'), dodo: productsOf(tier, 'dodo') } })),
    aliases,
  };
}

function describeIssues(location: string, error: z.ZodError | undefined): string[] {
  const at = (path: PropertyKey[], message: string) => `${location}: ${[z.core.toDotPath(path), message].filter(Boolean).join(' ')}`;
  return (error?.issues ?? []).flatMap((issue) => {
    if (issue.code === 'unrecognized_keys') return issue.keys.map((key) => at([...issue.path, key], 'is unknown'));
    return at(issue.path, issue.code === 'invalid_key' ? issue.issues[0]!.message : issue.message);
  });
}

function oneOf(names: readonly string[]): string {
  return `one of ${names.join(', ')}`;
}
