import { CLERK_WEBHOOK_SECRET } from '../clerk/clerk-events.js';
import type { TestDatabase } from '../database.js';
import { type Process, ready, startServer } from '../processes.js';

const PROBE = new URL('./event-loop-probe.mjs', import.meta.url).href;

/** The program in production, with every feature on and a probe in its event loop. */
export async function startFuzzServer({ url }: TestDatabase): Promise<Process> {
  return ready(
    await startServer(url, {
      NODE_ENV: 'production',
      NODE_OPTIONS: `--import=${PROBE}`,
      LOG_LEVEL: 'warn',
      GOOGLE_CLIENT_ID: 'id',
      GOOGLE_CLIENT_SECRET: 'secret',
      CLERK_WEBHOOK_SIGNING_SECRET: CLERK_WEBHOOK_SECRET,
      METRICS_TOKEN: 'a token for the metrics',
      BILLING_PRODUCTS: 'polar:polar-pro=pro',
      // Behind a proxy, addresses come from a header.
      TRUST_PROXY: '1',
    }),
  );
}

/** Returns what the probe has reported since the last call, in milliseconds. */
export function eventLoopHolds(server: Process): () => number[] {
  let read = server.output().length;
  return () => {
    const output = server.output();
    if (output.length === read) return [];
    const printed = output.slice(read);
    read = output.length;
    return [...printed.matchAll(/^event loop held for (\d+) ms$/gm)].map(([, ms]) => Number(ms));
  };
}

/** A process that ended, or logged an error, which it would also for a request without a response. */
export function complaintsOf(server: Process): string[] {
  const errors = server.log().filter(({ level }) => level === 'error' || level === 'fatal' || (typeof level === 'number' && level >= 50));
  return [...(server.hasEnded() ? ['the process ended'] : []), ...errors.map((line) => JSON.stringify(line).slice(0, 600))];
}
