import { randomBytes } from 'node:crypto';
import { Inject, Injectable } from '@nestjs/common';
import { Config } from '../../platform/config/config.js';
import { Keyring } from '../../platform/crypto/keyring.service.js';
import { DATABASE, type Database, type Queryable } from '../../platform/database/database.js';
import { Clock } from '../../platform/time/clock.service.js';
import { daysBefore, HOUR_MS } from '../../platform/time/durations.js';
import type { AuditSeal } from './audit-seals.table.js';
import { AuditSealsRepository } from './audit-seals.repository.js';
import { addUp, bytesOfSum, entryMac, linkOf, type SealedEntry, sumMacOf, sumOfBytes, takeOut } from './seal-macs.js';

export interface SealViolation {
  seal: number;
  details: string;
}

/** Entries are sealed at least this long after they were written. */
const DELAY_SECONDS = 60;
/** Entries of a seal, unless more of them have the same time. */
const ENTRIES = 5000;
const PAGE = 1000;
const KEY_CONTEXT = 'audit_seal_keys.key';
const EPOCH = new Date(0);

/** Seals the entries of the audit log, so that one that was changed, added or removed by hand is found (docs/decisions/0068). */
@Injectable()
export class AuditSeals {
  constructor(
    private readonly repository: AuditSealsRepository,
    private readonly keyring: Keyring,
    private readonly clock: Clock,
    private readonly config: Config,
    @Inject(DATABASE) private readonly db: Database,
  ) {}

  /** Writes the next seal. Returns the number of its entries; 0 means that there are none to seal. */
  async sealNext(): Promise<number> {
    return this.db.transaction(async (tx) => {
      await this.repository.lock(tx);
      const newest = await this.repository.findNewest(tx);
      const settled = await this.repository.findSettledMoment(DELAY_SECONDS, tx);
      const unsealed = { from: newest?.until ?? EPOCH, until: settled };
      const first = await this.repository.listEntries(unsealed, { limit: ENTRIES + 1 }, tx);
      if (first.length === 0) return 0;
      const [from, until] = [newest?.until ?? new Date(first[0]!.createdAt), endOf(first)];
      const key = await this.loadKey(tx);
      const { entries, sum } = await this.sumUp(key, { from, until }, tx);
      const seal = { number: (newest?.number ?? 0) + 1, from, until, entries };
      const sums = { sum: bytesOfSum(sum), sumMac: sumMacOf(key, seal.number, sum) };
      await this.repository.insert({ ...seal, ...sums, link: linkOf(key, seal, newest?.link) }, tx);
      return entries;
    });
  }

  /** Counts the erasure of personal data into the seals of the entries. `after` is how `before` is stored now. */
  async replaceEntries(pairs: { before: SealedEntry; after: SealedEntry }[], db: Queryable): Promise<void> {
    if (pairs.length === 0) return;
    // An entry that is being sealed would be summed up as it was.
    await this.repository.lock(db);
    const key = await this.loadKey(db);
    for (const { before, after } of pairs) {
      const seal = await this.repository.findCovering(before.createdAt, db);
      if (seal === undefined) continue;
      const sum = addUp(takeOut(sumOfBytes(seal.sum), entryMac(key, before)), entryMac(key, after));
      // A forged sum stays one.
      if (!sumMacOf(key, seal.number, sumOfBytes(seal.sum)).equals(seal.sumMac)) continue;
      await this.repository.updateSum(seal.number, { sum: bytesOfSum(sum), sumMac: sumMacOf(key, seal.number, sum) }, db);
    }
  }

  /** Only reads. Entries that retention may remove are left out. Returns the newest seal. */
  async verify(report: (violation: SealViolation) => void, signal?: AbortSignal): Promise<AuditSeal | undefined> {
    const kept = this.keptSince();
    let before: AuditSeal | undefined;
    const text = await this.repository.findKey();
    const key = text === undefined ? Buffer.alloc(0) : this.keyOf(text);
    for (let seals = await this.repository.list(0, PAGE); seals.length > 0; seals = await this.repository.list(before!.number, PAGE)) {
      for (const seal of seals) {
        signal?.throwIfAborted();
        const isSuspect = (await this.findFault(key, seal, { before, kept })) !== undefined;
        const details = isSuspect ? await this.lookAgain(key, seal.number, kept) : undefined;
        if (details !== undefined) report({ seal: seal.number, details });
        before = seal;
      }
    }
    const late = await this.findLateEntry(before);
    if (late !== undefined) report({ seal: (before?.number ?? 0) + 1, details: `it is missing: entries since ${late} are not sealed` });
    return before;
  }

  async removeBefore(before: Date, limit: number): Promise<number> {
    return this.repository.deleteBefore(before, limit);
  }

  /** Encrypts the key of the seals under the newest key of the keyring. */
  async renewEncryption(): Promise<void> {
    const key = await this.repository.findKey();
    if (key !== undefined) await this.repository.updateKey(this.keyring.renew(key, KEY_CONTEXT));
  }

  /** At one moment: an erasure or the retention may have changed seals and entries between two reads. */
  private async lookAgain(key: Buffer, number: number, kept: Date): Promise<string | undefined> {
    return this.db.transaction(
      async (tx) => {
        const seals = await this.repository.list(number - 2, 2, tx);
        const seal = seals.find((one) => one.number === number);
        const before = seals.find((one) => one.number === number - 1);
        return seal && this.findFault(key, seal, { before, kept }, tx);
      },
      { isolationLevel: 'repeatable read', accessMode: 'read only' },
    );
  }

  private async findFault(
    key: Buffer,
    seal: AuditSeal,
    { before, kept }: { before: AuditSeal | undefined; kept: Date },
    db?: Queryable,
  ): Promise<string | undefined> {
    const isFirst = before === undefined;
    // Retention removes seals too, so the first one need not be number 1.
    if (isFirst ? seal.number !== 1 && seal.from > kept : seal.number !== before.number + 1) return 'seals before it are missing';
    const isLinked = isFirst && seal.number !== 1 ? true : linkOf(key, seal, before?.link).equals(seal.link);
    if (!isLinked || !sumMacOf(key, seal.number, sumOfBytes(seal.sum)).equals(seal.sumMac)) return 'it was changed';
    if (!isFirst && seal.from.getTime() !== before.until.getTime()) return 'it was changed';
    if (seal.from < kept) return undefined;
    const [earlier] = isFirst ? await this.repository.listEntries({ from: kept, until: seal.from }, { limit: 1 }, db) : [];
    if (earlier !== undefined) return `an entry was added before ${seal.from.toISOString()}`;
    const { entries, sum } = await this.sumUp(key, seal, db);
    const range = `between ${seal.from.toISOString()} and ${seal.until.toISOString()}`;
    if (entries !== seal.entries) return `${entries} entries instead of ${seal.entries} ${range}`;
    return bytesOfSum(sum).equals(seal.sum) ? undefined : `an entry was changed ${range}`;
  }

  /** The time of an entry that should have been sealed. */
  private async findLateEntry(newest: AuditSeal | undefined): Promise<string | undefined> {
    const late = new Date(this.clock.now().getTime() - HOUR_MS);
    const from = newest?.until ?? EPOCH;
    if (late <= from) return undefined;
    const [entry] = await this.repository.listEntries({ from, until: late }, { limit: 1 });
    return entry?.createdAt;
  }

  private async sumUp(key: Buffer, range: { from: Date; until: Date }, db?: Queryable): Promise<{ entries: number; sum: bigint }> {
    let sum = 0n;
    let entries = 0;
    for (let after: SealedEntry | undefined; ;) {
      const page = await this.repository.listEntries(range, { after, limit: PAGE }, db);
      for (const entry of page) sum = addUp(sum, entryMac(key, entry));
      entries += page.length;
      if (page.length < PAGE) return { entries, sum };
      after = page.at(-1);
    }
  }

  private async loadKey(db: Queryable): Promise<Buffer> {
    const known = await this.repository.findKey(db);
    if (known !== undefined) return this.keyOf(known);
    await this.repository.insertKey(this.keyring.encrypt(randomBytes(32).toString('base64url'), KEY_CONTEXT), db);
    return this.keyOf((await this.repository.findKey(db))!);
  }

  private keyOf(encrypted: string): Buffer {
    return Buffer.from(this.keyring.decrypt(encrypted, KEY_CONTEXT), 'base64url');
  }

  private keptSince(): Date {
    const { auditRetentionDays } = this.config;
    // The last day of the retention time is left out, because the job that removes entries runs meanwhile.
    return auditRetentionDays === 0 ? EPOCH : daysBefore(this.clock.now(), auditRetentionDays - 1);
  }
}

/** All entries of one moment belong to one seal. */
function endOf(entries: SealedEntry[]): Date {
  const [first, last] = [entries[0]!, entries.at(-1)!].map(({ createdAt }) => new Date(createdAt).getTime());
  return new Date(entries.length > ENTRIES && first! < last! ? last! : last! + 1);
}
