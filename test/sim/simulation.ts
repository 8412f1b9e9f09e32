import { BillingReconciliation } from '../../src/subscriptions/reconciliation/billing-reconciliation.service.js';
import { Seeded } from '../simulators/seeded.js';
import { VirtualClock } from '../simulators/virtual-time.js';
import { failedEvents, untilProcessed } from '../support/clerk/clerk-deliveries.js';
import type { TcpProxy } from '../support/tcp-proxy.js';
import { Buyer, dodoShop, polarShop } from './buyers.js';
import { openStage, type Stage, type StageOptions } from './stage.js';
import { Violation, AccessChecker } from './access-checker.js';

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;

const BUYERS = 8;

const PROVIDERS = ['Polar', 'Dodo'];

/** How often a connection breaks, and for how long at most. */
const CLOSED = { perDay: 0.1, longest: 8 * HOUR };
const AWAY = { perDay: 0.15, longest: 5 * DAY };

export interface SimulationOptions extends Pick<StageOptions, 'sabotage'> {
  seed: number;
  months: number;
}

export interface Summary {
  days: number;
  events: number;
  /** Messages that were never delivered. */
  lost: number;
  outages: number;
  /** Differences that the nightly reconciliation found and repaired. */
  repaired: number;
  checks: number;
  /** Checks of a buyer after the period, without a confirmed renewal. */
  unconfirmed: number;
}

/**
 * Simulates months of two providers, buying organizations and the application between them, over real HTTP in both directions, with outages
 * and lost messages. Time advances only when all due work is done.
 *
 * @throws {Violation} when a buyer lacks paid access or has unpaid access, with the log of the run
 */
export async function simulate({ seed, months, sabotage }: SimulationOptions): Promise<Summary> {
  const clock = new VirtualClock();
  const chance = new Seeded(`simulation ${seed}`);
  const stage = await openStage({ clock, chance, sabotage });
  const simulation = new Simulation(stage, clock, chance);
  try {
    return await simulation.run(months * 30);
  } catch (error) {
    if (!(error instanceof Violation)) throw error;
    throw new Violation(`${error.message}\n${simulation.lines.join('\n')}`);
  } finally {
    await stage.close();
  }
}

class Simulation {
  readonly lines: string[] = [];
  private readonly checker: AccessChecker;
  private readonly buyers: Buyer[] = [];
  private readonly outages: Outage[];
  private repaired = 0;
  private reconciledOn = 0;
  /** Whether the last reconciliation was complete; then the next one starts at the beginning. */
  private isComplete = true;

  constructor(
    private readonly stage: Stage,
    private readonly clock: VirtualClock,
    private readonly chance: Seeded,
  ) {
    const [polar, dodo] = stage.outgoing.map((connection, index) => new Outage(`the API of ${PROVIDERS[index]}`, connection, AWAY));
    this.outages = [new Outage('our endpoint', stage.incoming, CLOSED), polar!, dodo!];
    this.checker = new AccessChecker(stage, (provider) => (provider === 'polar' ? polar! : dodo!).isOver);
  }

  async run(days: number): Promise<Summary> {
    const { stage, clock, chance } = this;
    const shops = [polarShop(stage.polar), dodoShop(stage.dodo)];
    for (let count = 0; count < BUYERS; count += 1) {
      const id = await stage.newOrganization();
      this.buyers.push(new Buyer(id, shops, chance, (what) => this.log(what)));
    }
    const end = clock.now().getTime() + days * DAY;
    while (clock.now().getTime() < end) {
      const passed = chance.chance(0.5) ? chance.between(5 * MINUTE, HOUR) : chance.between(HOUR, 12 * HOUR);
      this.pass(passed);
      for (const outage of this.outages) await outage.pass(clock.now(), passed / DAY, chance, (what) => this.log(what));
      for (const buyer of this.buyers) buyer.act(passed / DAY);
      await this.catchUp();
    }
    await this.finish();
    return this.summary(days);
  }

  private pass(ms: number): void {
    this.clock.set(new Date(this.clock.now().getTime() + ms));
    for (const account of this.stage.accounts) account.tick();
  }

  /** Delivers and runs everything that is due, then checks every buyer. */
  private async catchUp(): Promise<void> {
    const { senders, runJob } = this.stage;
    for (const sender of senders) await sender.run(this.clock.now());
    await this.settle();
    await runJob('confirm_subscriptions');
    const today = Math.floor(this.clock.now().getTime() / DAY);
    if (today > this.reconciledOn) {
      this.reconciledOn = today;
      await this.reconcile();
      // The operator reads the mail about the disabled endpoint.
      for (const sender of senders) sender.enable();
    }
    await this.checker.check(this.buyers, this.clock.now());
  }

  private async reconcile(): Promise<void> {
    try {
      const found = await this.stage.runJob('reconcile_billing');
      this.repaired += found;
      if (found > 0) this.log(`the reconciliation finds ${found}`);
      // A continued reconciliation has not seen changes to what an earlier run compared.
      if (this.isComplete) this.checker.noteReconciled(this.clock.now());
      this.isComplete = true;
    } catch (error) {
      if (this.outages.every(({ isOver }) => isOver)) throw error;
      this.isComplete = false;
      this.log(`the reconciliation fails: ${String(error)}`);
    }
  }

  /** Ends all outages and purchases: after pending deliveries and a reconciliation, everything must be right. */
  private async finish(): Promise<void> {
    this.log('the last purchases and outages are over');
    for (const outage of this.outages) await outage.end(this.clock.now());
    for (let count = 0; count < 8; count += 1) {
      this.pass(12 * HOUR);
      await this.catchUp();
    }
    const { found } = await this.stage.app.get(BillingReconciliation).reconcile();
    if (found > 0) throw new Violation(`${found} subscriptions are not as their providers have them`);
    const left = await failedEvents(this.target());
    if (left.length > 0) throw new Violation(`Messages were given up: ${JSON.stringify(left)}`);
    const [row] = await this.stage.db.rows<{ kept: number }>('SELECT count(*)::int AS kept FROM webhook_events');
    const sent = new Set(this.stage.senders.flatMap(({ deliveries }) => deliveries.filter(wasAccepted).map(({ messageId }) => messageId)));
    if (row!.kept !== sent.size) throw new Violation(`${row!.kept} messages were kept of ${sent.size} that came`);
  }

  private async settle(): Promise<void> {
    await untilProcessed(this.target());
  }

  private target() {
    return { db: this.stage.db, urls: () => [this.stage.url] };
  }

  private log(what: string): void {
    this.lines.push(`  ${this.clock.now().toISOString()} ${what}`);
  }

  private summary(days: number): Summary {
    const events = this.stage.accounts.flatMap((account) => account.events).length;
    const lost = this.stage.senders.flatMap((sender) => sender.undelivered()).length;
    const outages = this.outages.reduce((sum, { count }) => sum + count, 0);
    return { days, events, lost, outages, repaired: this.repaired, checks: this.checker.checks, unconfirmed: this.checker.unconfirmed };
  }
}

const wasAccepted = ({ answer }: { answer: unknown }) => answer === 202 || answer === 'answer lost';

/** A connection that breaks at times. */
class Outage {
  count = 0;
  isOver = true;
  private until = 0;

  constructor(
    private readonly name: string,
    private readonly connection: TcpProxy,
    private readonly frequency: typeof AWAY,
  ) {}

  async pass(now: Date, days: number, chance: Seeded, log: (what: string) => void): Promise<void> {
    if (!this.isOver && now.getTime() >= this.until) {
      await this.end(now);
      log(`${this.name} works again`);
      return;
    }
    // Not again at once, so that waiting deliveries arrive first.
    if (!this.isOver || now.getTime() < this.until + DAY || !chance.chance(this.frequency.perDay * days)) return;
    this.isOver = false;
    this.count += 1;
    this.until = now.getTime() + chance.between(HOUR, this.frequency.longest);
    await this.connection.cut();
    log(`${this.name} is cut off`);
  }

  async end(now: Date): Promise<void> {
    if (this.isOver) return;
    this.isOver = true;
    this.until = now.getTime();
    await this.connection.resume();
  }
}
