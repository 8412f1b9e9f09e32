import { Injectable } from '@nestjs/common';
import { Clock } from '../../platform/time/clock.service.js';
import { HOUR_MS } from '../../platform/time/durations.js';

export const MAX_FAILURES = 20;
export const WINDOW_SECONDS = 60;
const TRUST_MS = 24 * HOUR_MS;
const MAX_CLIENTS = 10_000;
/** A refused address may still deliver once in this time. */
const PROBE_MS = 5000;

interface Window {
  failures: number;
  endsAt: number;
  nextProbeAt: number;
}

/**
 * Counts failed webhook deliveries by address. An address that delivered a valid message within a day is never refused:
 * anyone can make a provider send wrongly signed messages to us from its own addresses. A refused address gets one
 * delivery in five seconds through, to earn that trust. Kept in memory, because a flood must not cost statements.
 */
@Injectable()
export class FailedDeliveries {
  private readonly windows = new Map<string, Window>();
  private readonly trusted = new Map<string, number>();

  constructor(private readonly clock: Clock) {}

  secondsToWait(client: string): number {
    const now = this.clock.now().getTime();
    const window = this.windows.get(client);
    if (window === undefined || window.failures < MAX_FAILURES || window.endsAt <= now) return 0;
    if (now - (this.trusted.get(client) ?? -Infinity) < TRUST_MS) return 0;
    return Math.ceil((window.endsAt - now) / 1000);
  }

  /** Returns whether a refused address may deliver now, and uses up that chance. */
  takeProbe(client: string): boolean {
    const now = this.clock.now().getTime();
    const window = this.windows.get(client);
    if (window === undefined || now < window.nextProbeAt) return false;
    window.nextProbeAt = now + PROBE_MS;
    return true;
  }

  recordFailure(client: string): void {
    const now = this.clock.now().getTime();
    const known = this.windows.get(client);
    const failures = known === undefined || known.endsAt <= now ? 1 : known.failures + 1;
    // The last allowed failure starts a full window.
    const endsAt = failures === 1 || failures === MAX_FAILURES ? now + WINDOW_SECONDS * 1000 : known!.endsAt;
    const nextProbeAt = failures <= MAX_FAILURES ? now + PROBE_MS : known!.nextProbeAt;
    remember(this.windows, client, { failures, endsAt, nextProbeAt });
  }

  recordSuccess(client: string): void {
    remember(this.trusted, client, this.clock.now().getTime());
  }

  get size(): number {
    return this.windows.size + this.trusted.size;
  }
}

/** Forgets the least recently seen address when there are too many. */
function remember<T>(map: Map<string, T>, client: string, value: T): void {
  map.delete(client);
  map.set(client, value);
  if (map.size > MAX_CLIENTS) map.delete(map.keys().next().value!);
}
