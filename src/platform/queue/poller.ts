/** The longest pause, in multiples of the first. */
const LONGEST = 4;

/**
 * Works off a queue: again at once while there is work, otherwise when woken or after a pause, which doubles while the
 * queue stays empty. Work of another process that died waits at most for the longest pause.
 */
export class Poller {
  private readonly stopping = new AbortController();
  private running?: Promise<void>;
  private woken = false;
  private wakeSleeper?: () => void;
  /** The next pause, in multiples of the first. */
  private factor = 1;

  /**
   * @param work does one round and returns whether there may be more
   * @param options.pauseMs is the first pause @param options.onError gets the error of a failed round
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
      // An entry that was enqueued in a transaction appears when that commits, soon after the wake-up.
      if (more || this.woken) this.factor = 1;
      else await this.sleep();
    }
  }

  private async sleep(): Promise<void> {
    await new Promise<void>((resolve) => {
      const timer = setTimeout(() => {
        this.factor = Math.min(this.factor * 2, LONGEST);
        resolve();
      }, this.options.pauseMs * this.factor);
      this.wakeSleeper = () => {
        this.factor = 1;
        clearTimeout(timer);
        resolve();
      };
    });
    this.wakeSleeper = undefined;
  }
}
