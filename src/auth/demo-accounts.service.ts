import { Inject, Injectable } from '@nestjs/common';
import { AccountsService } from '../accounts/accounts.service.js';
import { DATABASE, type Database } from '../platform/database/database.js';
import { SessionsService } from '../sessions/sessions.service.js';
import { UsersService } from '../users/users.service.js';
import type { User } from '../users/users.table.js';
import { Passwords } from './passwords/passwords.service.js';

@Injectable()
export class DemoAccounts {
  constructor(
    private readonly passwords: Passwords,
    private readonly users: UsersService,
    private readonly accounts: AccountsService,
    private readonly sessions: SessionsService,
    @Inject(DATABASE) private readonly db: Database,
  ) {}

  async replacePassword(userId: string, password: string): Promise<void> {
    const passwordHash = await this.passwords.hash(password);
    await this.db.transaction(async (tx) => {
      await this.accounts.removeAll([userId], tx);
      await this.accounts.addPassword(userId, passwordHash, tx);
      await this.sessions.endAll([userId], {}, tx);
    });
  }

  async createUser({ password, ...person }: { email: string; name: string; password: string }): Promise<User> {
    const passwordHash = await this.passwords.hash(password);
    return this.db.transaction(async (tx) => {
      const user = await this.users.createVerified(person, tx);
      await this.accounts.addPassword(user.id, passwordHash, tx);
      return user;
    });
  }
}
