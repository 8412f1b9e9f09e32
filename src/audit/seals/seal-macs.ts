import { createHmac } from 'node:crypto';

/** An entry of the audit log as text, as PostgreSQL writes it. */
export interface SealedEntry extends Record<string, string | null> {
  id: string;
  organizationId: string | null;
  actorKind: string;
  actorId: string | null;
  action: string;
  targetType: string;
  targetId: string;
  changes: string | null;
  requestId: string | null;
  ipAddress: string | null;
  createdAt: string;
}

interface LinkedSeal {
  number: number;
  from: Date;
  until: Date;
  entries: number;
}

const MODULUS = 1n << 256n;

export function entryMac(key: Buffer, entry: SealedEntry): bigint {
  const { id, organizationId, actorKind, actorId, action, targetType, targetId, changes, requestId, ipAddress, createdAt } = entry;
  const fields = [id, organizationId, actorKind, actorId, action, targetType, targetId, changes, requestId, ipAddress, createdAt];
  return BigInt(`0x${macOf(key, 'entry', fields).toString('hex')}`);
}

/** Without the key, no other set of entries with the same sum can be found; an entry can be taken out without reading the others. */
export function addUp(sum: bigint, mac: bigint): bigint {
  return (sum + mac) % MODULUS;
}

export function takeOut(sum: bigint, mac: bigint): bigint {
  return (sum - mac + MODULUS) % MODULUS;
}

/** Never changes, so that all later seals stay linked. */
export function linkOf(key: Buffer, { number, from, until, entries }: LinkedSeal, before: Buffer | undefined): Buffer {
  return macOf(key, 'link', [number, from.toISOString(), until.toISOString(), entries, before?.toString('hex') ?? null]);
}

export function sumMacOf(key: Buffer, number: number, sum: bigint): Buffer {
  return macOf(key, 'sum', [number, sum.toString(16)]);
}

export function bytesOfSum(sum: bigint): Buffer {
  return Buffer.from(sum.toString(16).padStart(64, '0'), 'hex');
}

export function sumOfBytes(bytes: Buffer): bigint {
  return BigInt(`0x${bytes.toString('hex')}`);
}

function macOf(key: Buffer, kind: string, fields: (string | number | null)[]): Buffer {
  return createHmac('sha256', key)
    .update(JSON.stringify([kind, ...fields]))
    .digest();
}
