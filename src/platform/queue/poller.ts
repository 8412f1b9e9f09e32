/**
 * Works a queue in the database: again at once while there is work, after a pause when there was none,
 * and right away when it is woken.
 */
export class Poller {
  private readonly stopping = new AbortController();
  private running?: Promise<void>;
  private woken = false;
  private wakeSleeper?: () => void;

  /**
   * @param work does one round; answers whether there may be more
   * @param options.pauseMs how long to sleep when there was nothing
   * @param options.onError told of a failed round; the next one comes after the pause
   */
  constructor(
    private readonly work: (signal: AbortSignal) => Promise<boolean>,
    private readonly options: { pauseMs: number; onError: (error: unknown) => void },
  ) {}

  start(): void {
    this.running ??= this.loop();
  }

  wake(): void {
    this.woken = true;
    this.wakeSleeper?.();
  }

  /** Waits for the round at work. */
  async stop(): Promise<void> {
    this.stopping.abort();
    this.wake();
    await this.running;
  }

  private async loop(): Promise<void> {
    while (!this.stopping.signal.aborted) {
      this.woken = false;
      const more = await this.work(this.stopping.signal).catch((error: unknown) => {
        this.options.onError(error);
        return false;
      });
      if (!more && !this.woken) await this.sleep();
    }
  }

  private async sleep(): Promise<void> {
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, this.options.pauseMs);
      this.wakeSleeper = () => {
        clearTimeout(timer);
        resolve();
      };
    });
    this.wakeSleeper = undefined;
  }
}
