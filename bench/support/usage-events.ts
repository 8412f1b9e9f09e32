/** Events of a batch. */
export const BATCH = 100;

const MODELS = ['gpt-5-mini', 'claude-sonnet-4-5'];
const run = `${process.pid.toString(36)}-${Date.now().toString(36)}`;
let count = 0;

/** A unique usage event. */
export function eventOf() {
  count += 1;
  return { eventId: `${run}-${count}`, model: MODELS[count % MODELS.length]!, inputTokens: 40 + (count % 50), outputTokens: 10 };
}
