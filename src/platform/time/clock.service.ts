import { Injectable } from '@nestjs/common';

/** What time it is, for rules that depend on dates; simulated months give it another hand. */
@Injectable()
export class Clock {
  now(): Date {
    return new Date();
  }
}
