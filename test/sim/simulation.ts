import { BillingReconciliation } from '../../src/subscriptions/reconciliation/billing-reconciliation.service.js';
import { Seeded } from '../simulators/seeded.js';
import { VirtualClock } from '../simulators/virtual-time.js';
import { failedEvents, untilProcessed } from '../support/clerk/clerk-deliveries.js';
import type { TcpProxy } from '../support/tcp-proxy.js';
import { Buyer, dodoShop, polarShop } from './buyers.js';
import { openStage, type Stage, type StageOptions } from './stage.js';
import { Violation, Watch } from './watch.js';

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;

const BUYERS = 8;

const PROVIDERS = ['Polar', 'Dodo'];

/** How often a wire breaks, and for how long at most. */
const CLOSED = { perDay: 0.1, longest: 8 * HOUR };
const AWAY = { perDay: 0.15, longest: 5 * DAY };

export interface SimulationOptions extends Pick<StageOptions, 'sabotage'> {
  seed: number;
  months: number;
}

export interface Summary {
  days: number;
  events: number;
  /** Of these, those that no attempt brought. */
  lost: number;
  outages: number;
  /** What the nightly comparison found and repaired. */
  repaired: number;
  looks: number;
  /** Looks at somebody whose period was over, and nobody could say whether it was renewed. */
  unconfirmed: number;
}

/**
 * Months of two providers, of organizations that buy there, and of the application between them, over real HTTP in
 * both directions; wires break, messages get lost. Time passes only when all is done that was due before.
 *
 * @throws {Violation} when somebody has not what they pay for, or what they do not pay for; with all that happened
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
    throw new Violation(`${error.message}\n${simulation.story.join('\n')}`);
  } finally {
    await stage.close();
  }
}

class Simulation {
  readonly story: string[] = [];
  private readonly watch: Watch;
  private readonly buyers: Buyer[] = [];
  private readonly outages: Outage[];
  private repaired = 0;
  private reconciledOn = 0;
  /** Whether the last comparison came to its end: one after it begins anew. */
  private isWhole = true;

  constructor(
    private readonly stage: Stage,
    private readonly clock: VirtualClock,
    private readonly chance: Seeded,
  ) {
    const [polar, dodo] = stage.wires.map((wire, index) => new Outage(`the API of ${PROVIDERS[index]}`, wire, AWAY));
    this.outages = [new Outage('our door', stage.door, CLOSED), polar!, dodo!];
    this.watch = new Watch(stage, (provider) => (provider === 'polar' ? polar! : dodo!).isOver);
  }

  async run(days: number): Promise<Summary> {
    const { stage, clock, chance } = this;
    const shops = [polarShop(stage.polar), dodoShop(stage.dodo)];
    for (let count = 0; count < BUYERS; count += 1) {
      const id = await stage.newOrganization();
      this.buyers.push(new Buyer(id, shops, chance, (what) => this.tell(what)));
    }
    const end = clock.now().getTime() + days * DAY;
    while (clock.now().getTime() < end) {
      const passed = chance.chance(0.5) ? chance.between(5 * MINUTE, HOUR) : chance.between(HOUR, 12 * HOUR);
      this.pass(passed);
      for (const outage of this.outages) await outage.pass(clock.now(), passed / DAY, chance, (what) => this.tell(what));
      for (const buyer of this.buyers) buyer.act(passed / DAY);
      await this.catchUp();
    }
    await this.calmDown();
    return this.summary(days);
  }

  private pass(ms: number): void {
    this.clock.set(new Date(this.clock.now().getTime() + ms));
    for (const account of this.stage.accounts) account.tick();
  }

  /** All that is due by now at us: deliveries, jobs. Then everybody has to have what they pay for. */
  private async catchUp(): Promise<void> {
    const { couriers, runJob } = this.stage;
    for (const courier of couriers) await courier.run(this.clock.now());
    await this.settle();
    await runJob('confirm_subscriptions');
    const today = Math.floor(this.clock.now().getTime() / DAY);
    if (today > this.reconciledOn) {
      this.reconciledOn = today;
      await this.reconcile();
      // Somebody reads the mail that says that the endpoint was switched off.
      for (const courier of couriers) courier.enable();
    }
    await this.watch.look(this.buyers, this.clock.now());
  }

  private async reconcile(): Promise<void> {
    try {
      const found = await this.stage.runJob('reconcile_billing');
      this.repaired += found;
      if (found > 0) this.tell(`the comparison finds ${found}`);
      // One that goes on where another was cut off has not seen what changed since.
      if (this.isWhole) this.watch.noteReconciled(this.clock.now());
      this.isWhole = true;
    } catch (error) {
      if (this.outages.every(({ isOver }) => isOver)) throw error;
      this.isWhole = false;
      this.tell(`the comparison fails: ${String(error)}`);
    }
  }

  /** Everything works again, and nobody does anything: after what is still under way, and a comparison, all is right. */
  private async calmDown(): Promise<void> {
    this.tell('nothing happens any more');
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
    const sent = new Set(this.stage.couriers.flatMap(({ deliveries }) => deliveries.filter(wasTaken).map(({ messageId }) => messageId)));
    if (row!.kept !== sent.size) throw new Violation(`${row!.kept} messages were kept of ${sent.size} that came`);
  }

  private async settle(): Promise<void> {
    await untilProcessed(this.target());
  }

  private target() {
    return { db: this.stage.db, urls: () => [this.stage.url] };
  }

  private tell(what: string): void {
    this.story.push(`  ${this.clock.now().toISOString()} ${what}`);
  }

  private summary(days: number): Summary {
    const events = this.stage.accounts.flatMap((account) => account.events).length;
    const lost = this.stage.couriers.flatMap((courier) => courier.undelivered()).length;
    const outages = this.outages.reduce((sum, { count }) => sum + count, 0);
    return { days, events, lost, outages, repaired: this.repaired, looks: this.watch.looks, unconfirmed: this.watch.unconfirmed };
  }
}

const wasTaken = ({ answer }: { answer: unknown }) => answer === 202 || answer === 'answer lost';

/** A wire that breaks now and then. */
class Outage {
  count = 0;
  isOver = true;
  private until = 0;

  constructor(
    private readonly name: string,
    private readonly wire: TcpProxy,
    private readonly habit: typeof AWAY,
  ) {}

  async pass(now: Date, days: number, chance: Seeded, tell: (what: string) => void): Promise<void> {
    if (!this.isOver && now.getTime() >= this.until) {
      await this.end(now);
      tell(`${this.name} works again`);
      return;
    }
    // Not again at once: what was waited for comes through first.
    if (!this.isOver || now.getTime() < this.until + DAY || !chance.chance(this.habit.perDay * days)) return;
    this.isOver = false;
    this.count += 1;
    this.until = now.getTime() + chance.between(HOUR, this.habit.longest);
    await this.wire.cut();
    tell(`${this.name} is cut off`);
  }

  async end(now: Date): Promise<void> {
    if (this.isOver) return;
    this.isOver = true;
    this.until = now.getTime();
    await this.wire.resume();
  }
}
