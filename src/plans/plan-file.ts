import { readFileSync } from 'node:fs';
import { z } from 'zod';
import { type BillingProduct, type Config, ConfigError } from '../config/config.js';
import { BILLING_PROVIDERS, type BillingProviderName, type Plan, type Tier, TIERS } from './plans.js';

export type PlanSettings = Pick<Config, 'plansFile' | 'billingProducts'>;

/** Everything that the plan file and `BILLING_PRODUCTS` say. */
export interface PlanCatalog {
  /** Worst first. */
  plans: Plan[];
  /** Other names of plans. */
  aliases: Map<string, Tier>;
}

/** A product that somebody says is of a plan, and where it stands. */
interface Claim extends BillingProduct {
  place: string;
}

const must = (be: string) => ({ error: ({ input }: { input?: unknown }) => (input === undefined ? 'is missing' : `must be ${be}`) });

const word = z.string(must('a text')).regex(/\S/, 'must not be empty');
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

const plan = z.strictObject({ name: word, description: z.string(must('a text')), limits }, must('an object'));

const alias = word.refine((name) => !isTier(name), 'is a plan itself');

const product = z.strictObject(
  { provider: z.enum(BILLING_PROVIDERS, must(oneOf(BILLING_PROVIDERS))), productId: word, plan: word },
  must('an object'),
);

const planFile = z.strictObject(
  {
    plans: z.record(z.enum(TIERS), plan, must('an object')),
    aliases: z.record(alias, z.enum(TIERS, must(oneOf(TIERS))), must('an object')).default({}),
    products: z.array(product, must('a list')).default([]),
  },
  must('an object'),
);

/** What names and products there are, whatever else is wrong: one mistake must not hide another, nor cause one. */
const outline = z
  .object({
    aliases: z.record(z.string(), z.unknown()).catch({}),
    products: z.array(z.unknown()).catch([]),
  })
  .catch({ aliases: {}, products: [] });

/** @throws {ConfigError} with every mistake at once */
export function loadPlans(settings: PlanSettings): PlanCatalog {
  const { catalog, mistakes } = readPlans(settings);
  if (catalog === undefined) throw new ConfigError(mistakes);
  return catalog;
}

/** Every mistake in the plan file and in `BILLING_PRODUCTS`, one line each. */
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
  const { aliases, products } = outline.parse(content);
  const claims = [...claimsInFile(plansFile, products), ...claimsInEnvironment(billingProducts)];
  const parsed = planFile.safeParse(content);
  const mistakes = [
    ...(parsed.error?.issues ?? []).flatMap(inWords).map((words) => `${plansFile}: ${words}`),
    ...mistakesInClaims(claims, aliases),
  ];
  return parsed.success && mistakes.length === 0 ? { catalog: catalogOf(parsed.data, claims), mistakes } : { mistakes };
}

function claimsInFile(file: string, products: unknown[]): Claim[] {
  return products.flatMap((entry, index) => {
    const { data } = product.safeParse(entry);
    return data === undefined ? [] : [{ ...data, place: `${file}: products[${index}]` }];
  });
}

function claimsInEnvironment(products: BillingProduct[]): Claim[] {
  return products.map((entry) => ({ ...entry, place: `BILLING_PRODUCTS: ${entry.provider}:${entry.productId}` }));
}

function mistakesInClaims(claims: Claim[], aliases: Record<string, unknown>): string[] {
  const first = new Map<string, Claim & { tier: unknown }>();
  return claims.flatMap((claim) => {
    const { place, provider, productId, plan: name } = claim;
    if (!isProvider(provider)) return [`${place} must be of a provider: ${oneOf(BILLING_PROVIDERS)}`];
    if (!isTier(name) && !Object.hasOwn(aliases, name)) return [`${place} names the plan "${name}", which is neither a plan nor an alias`];
    const tier = isTier(name) ? name : aliases[name];
    const key = `${provider}:${productId}`;
    const other = first.get(key);
    if (other === undefined) first.set(key, { ...claim, tier });
    return other === undefined || other.tier === tier ? [] : [`${place} maps to ${name} what ${other.place} maps to ${other.plan}`];
  });
}

function catalogOf({ plans, aliases }: z.infer<typeof planFile>, claims: Claim[]): PlanCatalog {
  const tiers = new Map(Object.entries(aliases));
  const productsOf = (tier: Tier, provider: BillingProviderName) => {
    const own = claims.filter((claim) => claim.provider === provider && (claim.plan === tier || tiers.get(claim.plan) === tier));
    return [...new Set(own.map(({ productId }) => productId))];
  };
  return {
    plans: TIERS.map((tier) => ({
      tier,
      ...plans[tier],
      products: { polar: productsOf(tier, 'polar'), dodo: productsOf(tier, 'dodo') },
    })),
    aliases: tiers,
  };
}

/** Unknown keys come together, and each is a mistake of its own. */
function inWords(issue: z.core.$ZodIssue): string[] {
  if (issue.code === 'unrecognized_keys') return issue.keys.map((key) => `${z.core.toDotPath([...issue.path, key])} is unknown`);
  const message = issue.code === 'invalid_key' ? issue.issues[0]!.message : issue.message;
  return [`${z.core.toDotPath(issue.path) || 'the file'} ${message}`];
}

function oneOf(names: readonly string[]): string {
  return `one of ${names.join(', ')}`;
}

function isTier(name: string): name is Tier {
  return (TIERS as readonly string[]).includes(name);
}

function isProvider(name: string): name is BillingProviderName {
  return (BILLING_PROVIDERS as readonly string[]).includes(name);
}
