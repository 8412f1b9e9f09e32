import { randomBytes } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';
import type { INestApplicationContext } from '@nestjs/common';
import { SYSTEM } from './access/principal.js';
import { AuthService } from './auth/auth.service.js';
import { DATA_DIRECTORY, writePrivateFile } from './config/local-environment.js';
import { UsersService } from './users/users.service.js';

const FILE = path.join(DATA_DIRECTORY, 'demo.json');

const PEOPLE = [
  { email: 'operator@demo.test', name: 'Olivia Operator', operator: true },
  { email: 'ada@demo.test', name: 'Ada Admin', operator: false },
  { email: 'max@demo.test', name: 'Max Member', operator: false },
];

interface Person {
  email: string;
  password: string;
}

export interface Demo {
  people: Person[];
  /** A bearer token of the operator, fresh; none when somebody has changed that password or suspended the operator. */
  token?: string;
}

/** Makes the demo's people once, with random passwords that are kept under `.data/`; later starts find them. */
export async function seedDemo(app: INestApplicationContext): Promise<Demo> {
  const [auth, users] = [app.get(AuthService), app.get(UsersService)];
  const known = readKnown();
  const people: Person[] = [];
  for (const { email, name, operator } of PEOPLE) {
    const existing = await users.findByEmail(email);
    const kept = known.find((person) => person.email === email);
    if (existing !== undefined && kept !== undefined) {
      people.push(kept);
      continue;
    }
    // Its password is lost with the file.
    if (existing !== undefined) await users.delete(existing.id, SYSTEM);
    const password = randomBytes(12).toString('base64url');
    const { id } = await auth.createUser({ email, name, password });
    if (operator) await users.setOperator(id, true);
    people.push({ email, password });
  }
  writePrivateFile(FILE, people);
  return { people, token: await auth.signIn(people[0]!.email, people[0]!.password) };
}

function readKnown(): Person[] {
  return existsSync(FILE) ? (JSON.parse(readFileSync(FILE, 'utf8')) as Person[]) : [];
}
