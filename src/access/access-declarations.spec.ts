import { Controller, Get } from '@nestjs/common';
import { wrongDeclarations } from './access-declarations.js';
import { Public, Roles, Scopes, SignedIn } from './access.decorators.js';
import { Caller, CurrentUser, type Principal, type UserPrincipal } from './principal.js';

@Controller('v1/organizations/:organizationId/things')
class ThingsController {
  @Get('caller')
  @Roles('admin')
  @Scopes('things:read')
  takesCaller(@Caller() _caller: Principal): void {}

  @Get('user')
  @Roles('admin')
  takesUser(@CurrentUser() _user: UserPrincipal): void {}

  @Get('user-or-key')
  @Roles('admin')
  @Scopes('things:read')
  takesUserOnly(@CurrentUser() _user: UserPrincipal): void {}

  @Get('nobody')
  @Public()
  takesNobody(@Caller() _caller: Principal): void {}

  @Get('own')
  @SignedIn()
  @Scopes('things:read')
  letsKeysIn(): void {}
}

@Controller('v1/things')
class LostController {
  @Get()
  @Roles('admin')
  lacksOrganization(): void {}

  @Get('undeclared')
  lacksAccess(): void {}
}

function check(controller: new () => object, name: string): string[] {
  const handler = (controller.prototype as Record<string, object>)[name]!;
  return wrongDeclarations(new Map([[name, { handler, controller }]]));
}

describe('the access that a route declares', () => {
  it.each([
    ['takesUserOnly', '@Scopes() lets API keys in, but @CurrentUser() takes users only. Use @Caller().'],
    ['takesNobody', 'A @Public() route has no caller. Remove @Caller() or @CurrentUser().'],
    ['letsKeysIn', '@Scopes() needs @Roles(), because a key belongs to an organization.'],
  ])('is refused at start: %s', (name, reason) => {
    expect(check(ThingsController, name)).toEqual([`${name}: ${reason}`]);
  });

  it('is refused when its path names no organization', () => {
    expect(check(LostController, 'lacksOrganization')).toEqual(['lacksOrganization: @Roles() needs :organizationId in the path.']);
  });

  it('is refused when it is missing', () => {
    expect(check(LostController, 'lacksAccess')).toEqual([
      'lacksAccess: It declares no access. Add @Roles(), @SignedIn(), @Operator() or @Public().',
    ]);
  });

  it('may use @Caller(), or @CurrentUser() on a route without API keys', () => {
    expect([...check(ThingsController, 'takesCaller'), ...check(ThingsController, 'takesUser')]).toEqual([]);
  });
});
