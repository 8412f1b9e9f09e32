import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { type Message, deliverConcurrently, untilProcessed } from './clerk/clerk-deliveries.js';
import type { TestDatabase } from './database.js';

/** An optional folder with real payloads, one file each in a folder for each provider. */
export const SAMPLES = process.env['WEBHOOK_SAMPLES_DIR'];

export type Json = null | boolean | number | string | Json[] | { [name: string]: Json };
export type Sample = [name: string, payload: Json];

/** The samples of a provider, if there are any. */
export function samplesIn(folder: string): Sample[] {
  if (SAMPLES === undefined) return [];
  const at = path.join(SAMPLES, folder);
  return readdirSync(at).map((file) => [`${folder}/${file}`, JSON.parse(readFileSync(path.join(at, file), 'utf8')) as Json]);
}

export type Path = (string | number)[];

/** The paths of all fields of a payload, at any depth. */
export function pathsOf(value: Json, at: Path = []): Path[] {
  if (typeof value !== 'object' || value === null) return [];
  const entries: [string | number, Json][] = Array.isArray(value) ? [...value.entries()] : Object.entries(value);
  return entries.flatMap(([name, child]) => [[...at, name], ...pathsOf(child, [...at, name])]);
}

/** The payload with one field changed, or removed if `to` is undefined. */
export function changed(payload: Json, at: Path, to: Json | undefined): Json {
  const copy = structuredClone(payload);
  let parent = copy as Record<string | number, Json>;
  for (const name of at.slice(0, -1)) parent = parent[name] as typeof parent;
  const last = at.at(-1)!;
  if (to === undefined) delete parent[last];
  else parent[last] = to;
  return copy;
}

/** The payload without each of these fields, and with null in each. */
export function brokenAt([name, payload]: Sample, paths: Path[]): Sample[] {
  return paths.flatMap((at) =>
    ([undefined, null] as const).map((to): Sample => [`${name} with ${JSON.stringify(to)} at ${at.join('.')}`, changed(payload, at, to)]),
  );
}

export interface End {
  name: string;
  status: string;
  /** An attempt ended with an error that is worth another one. */
  hasFailed: boolean;
  error: string | null;
}

/** Delivers all messages, which must be accepted, and returns how each was processed. */
export async function processingOf(
  { db, url }: { db: TestDatabase; url: string },
  messages: (Message & { name: string })[],
): Promise<End[]> {
  const target = { db, urls: () => [url] };
  await deliverConcurrently(target, messages);
  await untilProcessed(target);
  // Not the number of attempts: a process without CPU time for a second loses its lease, and tries again.
  const rows = await db.rows<{ message_id: string; status: string; failed: boolean; last_error: string | null }>(
    'SELECT message_id, status, next_attempt_at > received_at AS failed, last_error FROM webhook_events WHERE message_id = ANY ($1)',
    [messages.map(({ messageId }) => messageId)],
  );
  const ends = new Map(rows.map((row) => [row.message_id, row]));
  return messages.map(({ name, messageId }) => {
    const { status, failed, last_error: error } = ends.get(messageId)!;
    return { name, status, hasFailed: failed, error };
  });
}

/** The messages that were processed wrongly: quarantined without a reason, or only after a failure. */
export function wronglyProcessed(ends: End[]): End[] {
  return ends.filter(({ status, hasFailed, error }) => {
    const isQuarantined = status === 'quarantined';
    return !(isQuarantined || ['processed', 'ignored'].includes(status)) || (error === null) === isQuarantined || hasFailed;
  });
}
