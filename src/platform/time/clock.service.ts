import { Injectable } from '@nestjs/common';

interface Measurement {
  /** How far the database's clock is ahead, in milliseconds. */
  aheadMs: number;
  tookMs: number;
}

/** The difference between the database's clock and this process's. */
@Injectable()
export class ClockOffset {
  private ms = 0;

  now(): Date {
    return new Date(Date.now() + this.ms);
  }

  /** @param databaseTime has just come, in an exchange of this duration */
  measurement(databaseTime: Date, tookMs: number): Measurement {
    return { aheadMs: Math.round(databaseTime.getTime() + tookMs / 2 - Date.now()), tookMs };
  }

  /** Returns whether it changed. A change within the uncertainty is none, so that equal clocks stay equal. */
  correct({ aheadMs, tookMs }: Measurement): boolean {
    if (Math.abs(aheadMs - this.ms) <= tookMs + 1) return false;
    this.ms = aheadMs;
    return true;
  }
}

/** The database's time, for rules that depend on dates. A simulation sets it. */
@Injectable()
export class Clock {
  constructor(private readonly offset: ClockOffset = new ClockOffset()) {}

  now(): Date {
    return this.offset.now();
  }
}

/** The database's time, which no simulation sets: for schedules, leases, sessions, signatures. */
@Injectable()
export class SystemClock {
  constructor(private readonly offset: ClockOffset = new ClockOffset()) {}

  now(): Date {
    return this.offset.now();
  }
}
