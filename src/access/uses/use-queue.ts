const PAUSE_MS = 250;
const MOST = 10_000;
const MOST_TOGETHER = 1000;

/** Collects the ids of used credentials, and writes them together. A use that is lost is repeated by the next one. */
export class UseQueue {
  private readonly waiting = new Set<string>();
  /** Requests may have read these before they were written. */
  private written: ReadonlySet<string> = new Set();
  private timer?: NodeJS.Timeout;
  private writing: Promise<void> = Promise.resolve();

  /** @param write records these uses; a failure is reported to `failed` */
  constructor(
    private readonly write: (ids: string[]) => Promise<void>,
    private readonly failed: (error: unknown) => void,
  ) {}

  /** Returns whether this is the first use that is not recorded yet. */
  add(id: string, isUrgent = false): boolean {
    if (this.waiting.has(id) || this.written.has(id) || this.waiting.size >= MOST) return false;
    this.waiting.add(id);
    if (isUrgent) void this.flush();
    else this.timer ??= setTimeout(() => void this.flush(), PAUSE_MS).unref();
    return true;
  }

  async flush(): Promise<void> {
    clearTimeout(this.timer);
    const ids = [...this.waiting].toSorted();
    this.waiting.clear();
    this.written = new Set(ids);
    // Once more, to forget these ids.
    this.timer = ids.length === 0 ? undefined : setTimeout(() => void this.flush(), PAUSE_MS).unref();
    this.writing = this.writing.then(() => this.writeAll(ids));
    await this.writing;
  }

  private async writeAll(ids: string[]): Promise<void> {
    try {
      for (let start = 0; start < ids.length; start += MOST_TOGETHER) await this.write(ids.slice(start, start + MOST_TOGETHER));
    } catch (error) {
      this.failed(error);
    }
  }
}
