import { DodoAccount } from '../../simulators/dodo-account.js';
import { PolarAccount } from '../../simulators/polar-account.js';
import { VirtualClock } from '../../simulators/virtual-time.js';

const clock = new VirtualClock(Date.UTC(2025, 0, 1));
const polar = new PolarAccount({ clock, seed: 'catalogue' });
const dodo = new DodoAccount({ clock, seed: 'catalogue' });

/** The products, the same in every account; `unknown` is not in the plan mapping. */
export const POLAR_PRODUCTS = {
  pro: polar.createProduct({ name: 'Pro' }).id,
  business: polar.createProduct({ name: 'Business', amount: 3000, perSeat: true }).id,
  yearly: polar.createProduct({ name: 'Pro, yearly', amount: 10_000, interval: 'year' }).id,
  trial: polar.createProduct({ name: 'Pro, with a trial', trialDays: 14 }).id,
  unknown: polar.createProduct({ name: 'Something new' }).id,
};

export const DODO_PRODUCTS = {
  pro: dodo.createProduct({ name: 'Pro' }).product_id,
  business: dodo.createProduct({ name: 'Business', price: 3000 }).product_id,
  yearly: dodo.createProduct({ name: 'Pro, yearly', price: 10_000, interval: 'Year' }).product_id,
  trial: dodo.createProduct({ name: 'Pro, with a trial', trialDays: 14 }).product_id,
  unknown: dodo.createProduct({ name: 'Something new' }).product_id,
};

export type ProductName = keyof typeof POLAR_PRODUCTS;

const tierOf = (name: string) => (name === 'business' ? 'business' : 'pro');

/** For `BILLING_PRODUCTS`. */
export const BILLING_PRODUCTS = Object.entries({ polar: POLAR_PRODUCTS, dodo: DODO_PRODUCTS })
  .flatMap(([provider, products]) =>
    Object.entries(products).flatMap(([name, id]) => (name === 'unknown' ? [] : [`${provider}:${id}=${tierOf(name)}`])),
  )
  .join(',');

/** Adds all products to the accounts. */
export function addProducts(accounts: { polar: PolarAccount; dodo: DodoAccount }): void {
  for (const [id, product] of polar.products) accounts.polar.products.set(id, product);
  for (const [id, product] of dodo.products) accounts.dodo.products.set(id, product);
}
