import { type BeforeApplicationShutdown, Injectable, Logger } from '@nestjs/common';
import { UseQueue } from './use-queue.js';
import { UsesRepository } from './uses.repository.js';

/** Records when sessions and API keys were last used, apart from the requests that use them. */
@Injectable()
export class Uses implements BeforeApplicationShutdown {
  private readonly logger = new Logger(Uses.name);
  private readonly sessions: UseQueue;
  private readonly apiKeys: UseQueue;

  constructor(repository: UsesRepository) {
    const failed = (error: unknown) => this.logger.warn({ err: error }, 'The last use of some credentials could not be recorded');
    this.sessions = new UseQueue((ids) => repository.recordSessions(ids), failed);
    this.apiKeys = new UseQueue((ids) => repository.recordApiKeys(ids), failed);
  }

  /** Returns whether this request is the one that extends the session. @param endsSoon it may end before the next batch */
  recordSession(id: string, endsSoon: boolean): boolean {
    return this.sessions.add(id, endsSoon);
  }

  recordApiKey(id: string): void {
    this.apiKeys.add(id);
  }

  async beforeApplicationShutdown(): Promise<void> {
    await Promise.all([this.sessions.flush(), this.apiKeys.flush()]);
  }
}
