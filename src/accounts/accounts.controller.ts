import { Controller, Delete, Get, HttpCode, Param } from '@nestjs/common';
import { SignedIn } from '../access/access.decorators.js';
import { CurrentUser, type UserPrincipal } from '../access/principal.js';
import { TagDescription } from '../platform/openapi/tags.decorators.js';
import { Problems } from '../platform/problems/problems.decorators.js';
import { IdPipe } from '../platform/http/id.pipe.js';
import { AccountListResponse, AccountResponse } from './accounts.dto.js';
import { AccountNotFound, LastAccount } from './accounts.errors.js';
import { AccountsService } from './accounts.service.js';

@Controller('v1/users/me/accounts')
@TagDescription('Your ways to sign in: a password and linked providers.')
export class AccountsController {
  constructor(private readonly accounts: AccountsService) {}

  /** Lists your ways to sign in. */
  @Get()
  @SignedIn()
  async listAccounts(@CurrentUser() caller: UserPrincipal): Promise<AccountListResponse> {
    return { data: (await this.accounts.list(caller.userId)).map(AccountResponse.of), nextCursor: null };
  }

  /** Unlinks one of your ways to sign in. The last one cannot be unlinked. */
  @Delete(':accountId')
  @HttpCode(204)
  @SignedIn()
  @Problems(AccountNotFound, LastAccount)
  async unlinkAccount(@CurrentUser() caller: UserPrincipal, @Param('accountId', IdPipe) accountId: string): Promise<void> {
    await this.accounts.unlink(caller.userId, accountId, caller.actor);
  }
}
