import { newId } from '../../../src/platform/crypto/ids.js';
import { Clock } from '../../../src/platform/time/clock.service.js';
import { DATABASE, type Database } from '../../../src/platform/database/database.js';
import { MeterExporter } from '../../../src/usage/exports/meter-exporter.worker.js';
import { DISPATCH_LIMITS, MeterDispatcher, type DispatchOutcome } from '../../../src/usage/exports/meter-dispatcher.js';
import { MeterExportsRepository } from '../../../src/usage/exports/meter-exports.repository.js';
import { type MeteredEvent, MeterExportsService } from '../../../src/usage/exports/meter-exports.service.js';
import { DodoMeter } from '../../../src/providers/dodo/dodo-meter.client.js';
import { PolarMeter } from '../../../src/providers/polar/polar-meter.client.js';
import { DodoAccount } from '../../simulators/dodo-account.js';
import { type DodoApiSimulator, startDodoApiSimulator } from '../../simulators/dodo-api.js';
import { PolarAccount } from '../../simulators/polar-account.js';
import { type PolarApiSimulator, startPolarApiSimulator } from '../../simulators/polar-api.js';
import type { Fault } from '../../simulators/simulated-api.js';
import type { Clock as Time } from '../../simulators/virtual-time.js';
import { startTestApp, type TestApp } from '../app.js';
import { dodoEnvironment, polarEnvironment, withoutPauses } from '../billing/billing-clients.js';
import type { TestDatabase } from '../database.js';

export type MeterProvider = 'polar' | 'dodo';

/** A row of the queue of usage that is not yet reported. */
export interface ExportRow {
  event_id: string;
  attempts: number;
  next_attempt_at: Date | null;
  last_error: string | null;
}

/** Both providers' meters, and applications that report usage to them. */
export class MeterWorld {
  /** The faults of the next requests to a meter. Other requests, such as those of jobs, succeed. */
  readonly faults: Record<MeterProvider, Fault[]> = { polar: [], dodo: [] };
  /** Called, and awaited, before a request to a meter is handled. */
  readonly onRequest: Partial<Record<MeterProvider, () => void | Promise<void>>> = {};

  private constructor(
    private readonly clock: Time,
    readonly polar: PolarApiSimulator,
    readonly dodo: DodoApiSimulator,
  ) {
    for (const provider of ['polar', 'dodo'] as const) {
      const { control, faults } = this[provider];
      control.onCall = async (call) => {
        if (!isIngest(call)) return;
        await this.onRequest[provider]?.();
        faults.push(...this.faults[provider].splice(0, 1));
      };
    }
  }

  static async start(clock: Time): Promise<MeterWorld> {
    const [polar, dodo] = await Promise.all([
      startPolarApiSimulator({ account: new PolarAccount({ clock }) }),
      startDodoApiSimulator({ account: new DodoAccount({ clock }) }),
    ]);
    return new MeterWorld(clock, polar, dodo);
  }

  async close(): Promise<void> {
    await Promise.all([this.polar.close(), this.dodo.close()]);
  }

  get environment(): Record<string, string> {
    return { ...polarEnvironment(this.polar), ...dodoEnvironment(this.dodo), POLAR_METER_EVENT: 'tokens', DODO_METER_EVENT: 'tokens' };
  }

  /** An application with this world's clock, without pauses between requests. */
  async startApp(db?: TestDatabase, environment: Record<string, string> = {}): Promise<TestApp> {
    const t = await startTestApp({ ...this.environment, ...environment }, db);
    t.app.get(Clock).now = () => this.clock.now();
    Object.assign(t.app.get(MeterExporter).limits, { pauseMs: 0, coalesceMs: 0 });
    for (const meter of [t.app.get(PolarMeter), t.app.get(DodoMeter)]) withoutPauses(meter);
    return t;
  }

  newCustomer(provider: MeterProvider): string {
    return provider === 'polar' ? this.polar.account.createCustomer().id : this.dodo.account.createCustomer().customer_id;
  }

  /** A usage event of a customer with its own owner; all its tokens are input tokens. */
  event(provider: MeterProvider, given: Partial<MeteredEvent> & { providerCustomerId: string }): MeteredEvent {
    const tokensUsed = given.tokensUsed ?? 10;
    return {
      provider,
      ownerId: newId(),
      eventId: newId(),
      occurredAt: this.clock.now(),
      model: 'gpt-5',
      inputTokens: tokensUsed,
      outputTokens: 0,
      cachedInputTokens: 0,
      reasoningTokens: 0,
      tokensUsed,
      ...given,
    };
  }

  /** Usage events of a customer with 1, 2, 3 … tokens. */
  events(provider: MeterProvider, providerCustomerId: string, count: number, given: Partial<MeteredEvent> = {}): MeteredEvent[] {
    return Array.from({ length: count }, (_, index) => this.event(provider, { providerCustomerId, tokensUsed: index + 1, ...given }));
  }

  /** The tokens that a provider has counted. */
  tokensAt(provider: MeterProvider): number {
    const all = provider === 'polar' ? this.polar.usage : [...this.dodo.usage.values()];
    return tokensOf(all.map(({ metadata }) => ({ tokensUsed: Number(metadata!['tokens_used']) })));
  }

  eventsAt(provider: MeterProvider): number {
    return provider === 'polar' ? this.polar.usage.length : this.dodo.usage.size;
  }

  /** The number of requests to a meter. */
  requestsAt(provider: MeterProvider): number {
    return this[provider].calls.filter(isIngest).length;
  }
}

export const isIngest = (call: string) => call.endsWith('/events/ingest');

export function tokensOf(events: Pick<MeteredEvent, 'tokensUsed'>[]): number {
  return events.reduce((sum, { tokensUsed }) => sum + tokensUsed, 0);
}

/** Enqueues usage in a transaction, and wakes the workers. */
export async function recordUsage({ app }: TestApp, events: MeteredEvent[]): Promise<void> {
  const meters = app.get(MeterExportsService);
  await app.get<Database>(DATABASE).transaction((tx) => meters.enqueue(events, tx));
  meters.wake();
}

/** The queued exports, also the refused ones. */
export async function exportsIn(db: TestDatabase): Promise<ExportRow[]> {
  return db.rows<ExportRow>('SELECT event_id, attempts, next_attempt_at, last_error FROM meter_exports ORDER BY tokens_used, event_id');
}

export type ManualDispatcher = Awaited<ReturnType<typeof manualDispatcher>>;

/** A meter dispatcher that works only on demand, in an application with its own workers stopped. */
export async function manualDispatcher({ app }: TestApp, provider: MeterProvider, limits: Partial<typeof DISPATCH_LIMITS> = {}) {
  await app.get(MeterExporter).beforeApplicationShutdown();
  const outcomes: Record<DispatchOutcome, number> = { taken: 0, refused: 0, failed: 0 };
  const dispatcher = new MeterDispatcher(
    app.get(provider === 'polar' ? PolarMeter : DodoMeter),
    app.get(MeterExportsRepository),
    app.get(Clock),
    { ...DISPATCH_LIMITS, pauseMs: 0, coalesceMs: 0, ...limits },
    (outcome, readings) => (outcomes[outcome] += readings),
  );
  const { signal } = new AbortController();
  return { outcomes, work: async (until = signal) => dispatcher.dispatchBatch(until) };
}
