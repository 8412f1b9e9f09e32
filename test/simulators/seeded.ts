import { createHash } from 'node:crypto';

const ALPHANUMERIC = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789';

/** Random values that are the same for the same seed: sfc32, initialized with the seed's hash, so that near seeds are unrelated. */
export class Seeded {
  private readonly state: Uint32Array;

  /** @param mark eight hexadecimal digits in every id; otherwise equal seeds give equal values */
  constructor(
    seed: number | string,
    private readonly mark?: string,
  ) {
    const hash = createHash('sha256').update(String(seed)).digest();
    this.state = Uint32Array.from([0, 4, 8, 12], (at) => hash.readUInt32LE(at));
  }

  /** A random integer of 32 bits. */
  next(): number {
    const { state } = this;
    const [b, c] = [state[1]!, state[2]!];
    const sum = (state[0]! + b + state[3]!) >>> 0;
    state[0] = b ^ (b >>> 9);
    state[1] = c + (c << 3);
    state[2] = ((c << 21) | (c >>> 11)) + sum;
    state[3] = state[3]! + 1;
    return sum;
  }

  /** From 0 to below 1. */
  fraction(): number {
    return this.next() / 2 ** 32;
  }

  chance(rate: number): boolean {
    return this.fraction() < rate;
  }

  between(least: number, most: number): number {
    return least + Math.floor(this.fraction() * (most - least + 1));
  }

  pick<T>(from: readonly T[]): T {
    return from[this.between(0, from.length - 1)]!;
  }

  uuid(): string {
    const hex = Array.from({ length: 4 }, () => this.next().toString(16).padStart(8, '0')).join('');
    const variant = '89ab'[this.between(0, 3)]!;
    const first = this.mark ?? hex.slice(0, 8);
    return [first, hex.slice(8, 12), `4${hex.slice(13, 16)}`, `${variant}${hex.slice(17, 20)}`, hex.slice(20)].join('-');
  }

  /** `cus_8VbC6JDZzPEqfBPUdpj0K` */
  id(prefix: string, length = 21): string {
    const mark = this.mark === undefined ? '' : `${this.mark}-`;
    return `${prefix}_${mark}${Array.from({ length }, () => ALPHANUMERIC[this.between(0, ALPHANUMERIC.length - 1)]).join('')}`;
  }
}
