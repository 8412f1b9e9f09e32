import { type FileHandle, mkdir, open, readdir, readFile, stat, truncate, unlink } from 'node:fs/promises';
import path from 'node:path';

export interface JournalPosition {
  journalId: string;
  /** The number of the last entry; 0 before the first. */
  last: number;
}

export interface NewJournalEntry {
  kind: string;
  id: string;
  details: string | null;
  at: string;
}

export interface JournalEntry extends NewJournalEntry {
  number: number;
}

/** The first line of each file. */
interface Header {
  journal: string;
  first: number;
}

/** A part of the journal is missing, so a replay would not end everything. */
export class JournalGap extends Error {}

const FILE = /^revocations-(\d{16})\.jsonl$/;
const MAX_BYTES = 4 * 1024 * 1024;

/**
 * An append-only journal: files of JSON lines, each entry with the number after the one before. The caller sees to it
 * that one process writes at a time.
 */
export class JournalFiles {
  private tail?: JournalPosition & { name: string; bytes: number };

  constructor(private readonly directory: string) {}

  /** Undefined where there is no journal yet. Removes the half of a line that a killed writer left. */
  async findPosition(): Promise<JournalPosition | undefined> {
    const names = await this.listFiles();
    const name = names.at(-1);
    if (name === undefined) return (this.tail = undefined);
    const { size } = await stat(this.pathOf(name));
    if (this.tail?.name === name && this.tail.bytes === size) return this.tail;
    const text = await readFile(this.pathOf(name), 'utf8');
    const whole = text.slice(0, text.lastIndexOf('\n') + 1);
    if (whole === '') {
      await unlink(this.pathOf(name));
      return this.findPosition();
    }
    const bytes = Buffer.byteLength(whole);
    if (bytes < size) await truncate(this.pathOf(name), bytes);
    const [{ journal, first }, ...entries] = linesOf(whole, name);
    const last = entries.reduce((most, { number }) => Math.max(most, number), first - 1);
    this.tail = { journalId: journal, last, name, bytes };
    return this.tail;
  }

  /** Returns the new position when the entries are on the disk. @param journalId of a journal that begins with them */
  async append(entries: NewJournalEntry[], journalId: string): Promise<JournalPosition> {
    await mkdir(this.directory, { recursive: true, mode: 0o700 });
    const before = (await this.findPosition()) ?? { journalId, last: 0 };
    const tail = this.tail !== undefined && this.tail.bytes < MAX_BYTES ? this.tail : undefined;
    const first = before.last + 1;
    const name = tail?.name ?? `revocations-${String(first).padStart(16, '0')}.jsonl`;
    const header: Header[] = tail === undefined ? [{ journal: before.journalId, first }] : [];
    const lines = [...header, ...entries.map((entry, index) => ({ number: first + index, ...entry }))];
    const text = lines.map((line) => `${JSON.stringify(line)}\n`).join('');
    await withFile(this.pathOf(name), tail === undefined ? 'ax' : 'a', async (file) => {
      await file.writeFile(text);
      await file.sync();
    });
    // A new name is lost with the power until its folder is on the disk too.
    if (tail === undefined) await withFile(this.directory, 'r', (folder) => folder.sync());
    const position = { journalId: before.journalId, last: before.last + entries.length };
    this.tail = { ...position, name, bytes: (tail?.bytes ?? 0) + Buffer.byteLength(text) };
    return position;
  }

  /** The entries behind a position, oldest first. @throws {JournalGap} */
  async *readAfter({ journalId, last }: JournalPosition): AsyncGenerator<JournalEntry[]> {
    const names = await this.listFiles();
    // The files before the one that holds the next entry are not needed.
    const start = names.findLastIndex((name) => firstOf(name) <= last + 1);
    if (start === -1) throw new JournalGap(`The journal has no entry ${last + 1}.`);
    let expected = firstOf(names[start]!);
    for (const name of names.slice(start)) {
      const [header, ...entries] = linesOf(await readFile(this.pathOf(name), 'utf8'), name);
      if (header.journal !== journalId) throw new JournalGap(`${name} belongs to another journal.`);
      if (firstOf(name) !== expected) throw new JournalGap(`The journal has no entry ${expected}.`);
      const next: JournalEntry[] = [];
      for (const entry of entries) {
        if (entry.number > expected) throw new JournalGap(`The journal has no entry ${expected}.`);
        // A writer that was frozen and lost its lock repeats what the next one has written.
        if (entry.number < expected) continue;
        expected += 1;
        if (entry.number > last) next.push(entry);
      }
      yield next;
    }
    if (expected <= last) throw new JournalGap(`The journal has no entry ${expected}.`);
  }

  private async listFiles(): Promise<string[]> {
    const names = await readdir(this.directory).catch((error: NodeJS.ErrnoException): string[] => {
      if (error.code === 'ENOENT') return [];
      throw error;
    });
    return names.filter((name) => FILE.test(name)).sort();
  }

  private pathOf(name: string): string {
    return path.join(this.directory, name);
  }
}

function firstOf(name: string): number {
  return Number(FILE.exec(name)![1]);
}

/** Without the half of a line at the end, which its writer repeats. */
function linesOf(text: string, name: string): [Header, ...JournalEntry[]] {
  const lines = text.split('\n').slice(0, -1);
  if (lines.length === 0) throw new JournalGap(`${name} is empty.`);
  const parsed = lines.map((line, index): unknown => {
    try {
      return JSON.parse(line);
    } catch {
      throw new JournalGap(`Line ${index + 1} of ${name} is not JSON.`);
    }
  });
  return parsed as [Header, ...JournalEntry[]];
}

async function withFile(at: string, flags: string, work: (file: FileHandle) => Promise<void>): Promise<void> {
  const file = await open(at, flags, 0o600);
  try {
    await work(file);
  } finally {
    await file.close();
  }
}
