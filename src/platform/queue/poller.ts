/** Works off a queue: again at once while there is work, otherwise after a pause or when woken. */
export class Poller {
  private readonly stopping = new AbortController();
  private running?: Promise<void>;
  private woken = false;
  private wakeSleeper?: () => void;

  /** @param work does one round and returns whether there may be more @param options.onError gets the error of a failed round */
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
