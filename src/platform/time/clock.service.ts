import { Injectable } from '@nestjs/common';

/** The time for rules that depend on dates. A simulation sets it. */
@Injectable()
export class Clock {
  now(): Date {
    return new Date();
  }
}

/** The time of this machine, for values that others compare with their own clock: schedules, leases, sessions, signatures. */
@Injectable()
export class SystemClock {
  now(): Date {
    return new Date();
  }
}
