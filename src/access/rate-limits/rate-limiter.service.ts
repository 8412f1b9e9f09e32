import { createHash } from 'node:crypto';
import { Injectable } from '@nestjs/common';
import type { Request, Response } from 'express';
import { normaliseEmail } from '../../platform/text/emails.js';
import { addressBlockOf, clientAddressOf } from '../../platform/http/network-addresses.js';
import { sweepInBatches } from '../../platform/queue/sweep.js';
import { Config } from '../../platform/config/config.js';
import type { RateLimit } from '../../platform/config/value-types.js';
import type { Queryable } from '../../platform/database/database.js';
import type { Limit } from '../access.decorators.js';
import { RateLimited } from '../access.errors.js';
import { AccessRepository, type Allowance, type Spender } from '../access.repository.js';

export interface Spent {
  name: string;
  policy: RateLimit;
  allowance: Allowance;
}

/** An allowance by the name of its row. */
export interface Bound {
  key: string;
  policy: RateLimit;
}

/** Counts calls in the database, so that replicas share one count. */
@Injectable()
export class RateLimiter {
  private readonly policies: Record<Limit, RateLimit>;
  /** Spent before the body was read; the guard does not spend it again. */
  private readonly prepaid = new WeakMap<Request, Spent>();

  constructor(
    private readonly access: AccessRepository,
    config: Config,
  ) {
    this.policies = {
      api: config.apiRateLimit,
      usage: config.usageRateLimit,
      auth: config.authRateLimit,
      mail: config.mailRateLimit,
    };
  }

  /** Sends one statement for each allowance; nothing is waited for before all are on their way. */
  async spend(limits: readonly Limit[], request: Request, caller: Omit<Spender, 'fallback'>): Promise<Spent[]> {
    if (limits.length === 0) return [];
    const address = addressBlockOf(clientAddressOf(request));
    return Promise.all(
      limits.map(async (name) => {
        const prepaid = this.prepaid.get(request);
        if (prepaid?.name === name) return prepaid;
        const policy = this.policies[name];
        const isCallers = name === 'api' || name === 'usage';
        // By address too: nobody can use up what the owner of the email may ask for.
        const byAddress = name === 'auth' ? address : `${emailKey(emailIn(request.body))}:${address}`;
        const spender = isCallers ? { ...caller, fallback: address } : { fallback: byAddress };
        return { name, policy, allowance: await this.access.spend(name, policy, spender) };
      }),
    );
  }

  /** Spends an allowance that depends on the address alone, ahead of the guard. */
  async prepay(limit: 'auth', request: Request): Promise<Spent> {
    const [spent] = await this.spend([limit], request, {});
    this.prepaid.set(request, spent!);
    return spent!;
  }

  /**
   * Spends from one allowance in the transaction of what it allows; a rollback gives it back.
   *
   * @returns undefined, or how many seconds to wait when it is used up
   */
  async spendIn(db: Queryable, key: string, policy: RateLimit): Promise<number | undefined> {
    const allowance = await this.access.spendIn(db, key, policy);
    return allowance.allowed ? undefined : secondsUntilNext({ name: key, policy, allowance });
  }

  /**
   * Spends from several allowances, or from none.
   *
   * @returns undefined, or how many seconds to wait for the one that is used up
   */
  async spendAll(bounds: readonly Bound[]): Promise<number | undefined> {
    for (const [index, { key, policy }] of bounds.entries()) {
      const allowance = await this.access.spendKey(key, policy);
      if (allowance.allowed) continue;
      await this.refund(bounds.slice(0, index));
      return secondsUntilNext({ name: key, policy, allowance });
    }
    return undefined;
  }

  /** Gives back what `spendAll` spent. */
  async refund(bounds: readonly Bound[]): Promise<void> {
    for (const { key, policy } of bounds) await this.access.refund(key, policy);
  }

  /**
   * Tells the caller what is left (draft-ietf-httpapi-ratelimit-headers-10).
   *
   * @throws {RateLimited} with `Retry-After` in seconds when an allowance is used up
   */
  report(spent: Spent[], response: Response): void {
    if (spent.length === 0) return;
    response.setHeader(
      'RateLimit-Policy',
      spent.map(({ name, policy }) => `"${name}";q=${policy.limit};w=${policy.windowSeconds}`).join(', '),
    );
    response.setHeader(
      'RateLimit',
      spent.map((one) => `"${one.name}";r=${remaining(one)};t=${Math.max(0, Math.ceil(one.allowance.debt))}`).join(', '),
    );
    const refused = spent.filter(({ allowance }) => !allowance.allowed);
    if (refused.length === 0) return;
    throw new RateLimited({ headers: { 'retry-after': String(Math.max(...refused.map(secondsUntilNext))) } });
  }

  /** Removes what nobody has spent from for a while; answers how many rows. */
  async sweep(signal: AbortSignal): Promise<number> {
    return sweepInBatches(signal, (limit) => this.access.sweepAllowances(limit));
  }
}

/** How many calls are left. */
export function remaining({ policy: { limit, windowSeconds }, allowance }: Spent): number {
  if (!allowance.allowed) return 0;
  // The debt of a fast allowance can be paid before it is read.
  const debt = Math.max(0, allowance.debt);
  return Math.max(0, Math.floor(((windowSeconds - debt) * limit) / windowSeconds + 1e-6));
}

/** Whole seconds until a refused caller may call again. */
export function secondsUntilNext(spent: Spent): number {
  return Math.max(1, Math.ceil(waitOf(spent)));
}

/** Seconds until a refused caller may call again; not above 0 when that is now. */
export function waitOf({ policy: { limit, windowSeconds }, allowance }: Spent): number {
  return allowance.debt + windowSeconds / limit - windowSeconds;
}

/** Hashed: a table of counters is no place for addresses. */
export function emailKey(email: string): string {
  return createHash('sha256').update(normaliseEmail(email)).digest('base64url');
}

function emailIn(body: unknown): string {
  const { email, newEmail } = typeof body === 'object' && body !== null ? (body as { email?: unknown; newEmail?: unknown }) : {};
  const given = email ?? newEmail;
  return typeof given === 'string' ? given : '';
}
