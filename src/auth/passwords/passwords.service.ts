import { argon2, randomBytes, timingSafeEqual } from 'node:crypto';
import { promisify } from 'node:util';
import { Injectable } from '@nestjs/common';
import pLimit from 'p-limit';

const derive = promisify(argon2);

/** OWASP's minimum for argon2id: https://cheatsheetseries.owasp.org/cheatsheets/Password_Storage_Cheat_Sheet.html */
const OWASP_MINIMUM = { memory: 19_456, passes: 2, parallelism: 1 };
const TAG_BYTES = 32;
const SALT_BYTES = 16;

/** Hashing runs on libuv's four threads, which files and DNS need as well. */
const CONCURRENCY = 2;

/** `memory` in KiB. */
export interface HashCost {
  memory: number;
  passes: number;
  parallelism: number;
}

interface Hash extends HashCost {
  salt: Buffer;
  tag: Buffer;
}

@Injectable()
export class Passwords {
  private readonly queue = pLimit(CONCURRENCY);
  /** Of new hashes. */
  cost: HashCost = OWASP_MINIMUM;

  /** @returns a PHC string: `$argon2id$v=19$m=…,t=…,p=…$salt$hash` */
  async hash(password: string): Promise<string> {
    const salt = randomBytes(SALT_BYTES);
    const { memory, passes, parallelism } = this.cost;
    const tag = await this.derive(password, { ...this.cost, salt, tag: Buffer.alloc(TAG_BYTES) });
    return `$argon2id$v=19$m=${memory},t=${passes},p=${parallelism}$${encode(salt)}$${encode(tag)}`;
  }

  /** Uses the parameters stored in the hash, so that they can be raised for new hashes. */
  async verify(phc: string, password: string): Promise<boolean> {
    const hash = parse(phc);
    const tag = await this.derive(password, hash);
    return timingSafeEqual(tag, hash.tag);
  }

  private async derive(password: string, { memory, passes, parallelism, salt, tag }: Hash): Promise<Buffer> {
    // NFKC, because two keyboards may send different bytes for the same password (NIST SP 800-63B).
    const message = password.normalize('NFKC');
    return this.queue(() => derive('argon2id', { message, nonce: salt, parallelism, tagLength: tag.length, memory, passes }));
  }
}

function parse(phc: string): Hash {
  const match = /^\$argon2id\$v=19\$m=(\d+),t=(\d+),p=(\d+)\$([A-Za-z0-9+/]+)\$([A-Za-z0-9+/]+)$/.exec(phc);
  if (match === null) throw new Error('A stored password hash is not an argon2id PHC string');
  const [memory, passes, parallelism, salt, tag] = match.slice(1) as [string, string, string, string, string];
  return {
    memory: Number(memory),
    passes: Number(passes),
    parallelism: Number(parallelism),
    salt: Buffer.from(salt, 'base64'),
    tag: Buffer.from(tag, 'base64'),
  };
}

function encode(bytes: Buffer): string {
  return bytes.toString('base64').replace(/=+$/, '');
}
