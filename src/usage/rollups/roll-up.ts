import type { NewUsageRecord } from '../events/usage-events.table.js';
import type { UsageRollup } from './usage-rollups.table.js';
import { HOUR_MS } from '../../platform/time/durations.js';

const ZERO = { inputTokens: 0, outputTokens: 0, cachedInputTokens: 0, reasoningTokens: 0, tokensUsed: 0, overrun: 0 };
const SUMMED = Object.keys(ZERO) as (keyof typeof ZERO)[];

/** Sums events by owner, UTC hour, model and acting user. */
export function rollUp(events: NewUsageRecord[]): UsageRollup[] {
  const rollups = new Map<string, UsageRollup>();
  for (const event of events) {
    const { ownerId, model, actorUserId } = event;
    const hour = Math.floor(event.occurredAt.getTime() / HOUR_MS) * HOUR_MS;
    const key = `${ownerId} ${hour} ${actorUserId} ${model}`;
    let rollup = rollups.get(key);
    if (rollup === undefined) rollups.set(key, (rollup = { ownerId, hour: new Date(hour), model, actorUserId, events: 0, ...ZERO }));
    rollup.events += 1;
    for (const name of SUMMED) rollup[name] += event[name];
  }
  return [...rollups.values()];
}
