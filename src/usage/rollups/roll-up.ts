import type { NewUsageRecord } from '../events/usage-events.table.js';
import type { UsageRollup } from './usage-rollups.table.js';
import { HOUR_MS } from '../../platform/time/durations.js';

/** An event probably belongs to one of the latest rollups; then it needs no key. */
const LATEST = 4;

/** Sums events by owner, UTC hour, model and acting user. */
export function rollUp(events: NewUsageRecord[]): UsageRollup[] {
  const rollups = new Map<string, UsageRollup>();
  let latest: UsageRollup[] = [];
  for (const event of events) {
    const hour = Math.floor(event.occurredAt.getTime() / HOUR_MS) * HOUR_MS;
    let rollup = latest.find((one) => isOf(one, event, hour));
    if (rollup === undefined) {
      const key = `${event.ownerId} ${hour} ${event.actorUserId} ${event.model}`;
      rollup = rollups.get(key) ?? emptyRollup(event, hour);
      rollups.set(key, rollup);
      latest = [rollup, ...latest.slice(0, LATEST - 1)];
    }
    add(rollup, event);
  }
  return [...rollups.values()];
}

function isOf({ ownerId, hour, model, actorUserId }: UsageRollup, event: NewUsageRecord, eventHour: number): boolean {
  return hour.getTime() === eventHour && model === event.model && actorUserId === event.actorUserId && ownerId === event.ownerId;
}

function emptyRollup({ ownerId, model, actorUserId }: NewUsageRecord, hour: number): UsageRollup {
  const counts = { inputTokens: 0, outputTokens: 0, cachedInputTokens: 0, reasoningTokens: 0, tokensUsed: 0, overrun: 0 };
  return { ownerId, hour: new Date(hour), model, actorUserId, events: 0, ...counts };
}

function add(rollup: UsageRollup, event: NewUsageRecord): void {
  rollup.events += 1;
  rollup.inputTokens += event.inputTokens;
  rollup.outputTokens += event.outputTokens;
  rollup.cachedInputTokens += event.cachedInputTokens;
  rollup.reasoningTokens += event.reasoningTokens;
  rollup.tokensUsed += event.tokensUsed;
  rollup.overrun += event.overrun;
}
