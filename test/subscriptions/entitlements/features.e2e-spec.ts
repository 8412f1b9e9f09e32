import { jest } from '@jest/globals';
import { Controller, Get, Module } from '@nestjs/common';
import { Public, Roles, Scopes, SignedIn } from '../../../src/access/access.decorators.js';
import { AppModule } from '../../../src/app.module.js';
import { Requires } from '../../../src/subscriptions/entitlements/entitlements.decorators.js';
import { SubscriptionsModule } from '../../../src/subscriptions/subscriptions.module.js';
import { BillingApp, PRODUCT } from '../../support/billing/billing-app.js';
import { addMember } from '../../support/tenants.js';
import { signUp } from '../../support/people.js';

/** A module as an application on top of this one has it. */
@Controller('v1/organizations/:organizationId/reports')
class ReportsController {
  @Get()
  @Roles('admin', 'member')
  @Scopes('usage:read')
  @Requires('usage_export')
  listReports(): { data: string[] } {
    return { data: [] };
  }

  @Get('urgent')
  @Roles('admin', 'member')
  @Requires('priority_support')
  listUrgentReports(): { data: string[] } {
    return { data: [] };
  }

  @Get('none')
  @Roles('admin', 'member')
  @Requires('of_no_plan')
  listNoReports(): { data: string[] } {
    return { data: [] };
  }
}

@Controller('v1/own-reports')
class OwnReportsController {
  @Get()
  @SignedIn()
  @Requires('usage_export')
  listOwnReports(): { data: string[] } {
    return { data: [] };
  }

  @Get('open')
  @Public()
  listOpenReports(): { data: string[] } {
    return { data: [] };
  }
}

@Module({ imports: [SubscriptionsModule], controllers: [ReportsController, OwnReportsController] })
class ReportsModule {}

describe('a route that requires a feature', () => {
  let billing: BillingApp;
  beforeAll(async () => {
    const register = AppModule.register.bind(AppModule);
    const spy = jest.spyOn(AppModule, 'register').mockImplementation((config) => {
      const app = register(config);
      return { ...app, imports: [...app.imports!, ReportsModule] };
    });
    billing = await BillingApp.start();
    spy.mockRestore();
  });
  afterAll(() => billing.close());

  async function answerTo(path: string, headers: Record<string, string>): Promise<[status: number, code?: string, detail?: string]> {
    const { status, body } = await billing.t.http.get(path).set(headers);
    return status === 200 ? [status] : [status, body.code as string, body.detail as string];
  }

  it('is open to organizations with the feature in their plan, and names those plans in the refusal', async () => {
    const { admin, id, path } = await billing.newTenant();
    const refusal = 'The plan Free does not include "usage_export". It is part of Pro and Business.';
    expect(await answerTo(`${path}/reports`, admin.auth)).toEqual([402, 'plan_required', refusal]);
    const bought = await billing.buyAtPolar({ metadata: { organizationId: id } });
    expect(await answerTo(`${path}/reports`, admin.auth)).toEqual([200]);
    expect(await answerTo(`${path}/reports/urgent`, admin.auth)).toEqual([
      402,
      'plan_required',
      'The plan Pro does not include "priority_support". It is part of Business.',
    ]);
    await billing.emitPolar('subscription.updated', { ...bought, product_id: PRODUCT.business });
    expect(await answerTo(`${path}/reports/urgent`, admin.auth)).toEqual([200]);
    await billing.emitPolar('subscription.revoked', { ...bought, status: 'unpaid' });
    expect(await answerTo(`${path}/reports`, admin.auth)).toEqual([402, 'plan_required', refusal]);
  });

  it('checks the plan of the organization or user that owns the resource', async () => {
    const { admin, id, path } = await billing.newTenant();
    await billing.buyAtPolar({ metadata: { userId: admin.id } });
    expect((await answerTo(`${path}/reports`, admin.auth))[0]).toBe(402);
    expect(await answerTo('/v1/own-reports', admin.auth)).toEqual([200]);
    const member = await signUp(billing.t);
    await addMember(billing.t, id, member);
    await billing.buyAtDodo({ metadata: { organizationId: id } });
    expect(await answerTo(`${path}/reports`, member.auth)).toEqual([200]);
    expect((await answerTo('/v1/own-reports', member.auth))[0]).toBe(402);
  });

  it('checks the plan of the organization that owns the API key', async () => {
    const { admin, id, path } = await billing.newTenant();
    const { body } = await billing.t.http
      .post(`${path}/api-keys`)
      .set(admin.auth)
      .send({ name: 'A key', scopes: ['usage:read'] })
      .expect(201);
    const key = { 'x-api-key': body.key as string };
    expect((await answerTo(`${path}/reports`, key))[0]).toBe(402);
    await billing.buyAtPolar({ metadata: { organizationId: id } });
    expect(await answerTo(`${path}/reports`, key)).toEqual([200]);
  });

  it('checks authentication and permission first', async () => {
    const { path } = await billing.newTenant();
    const outsider = await signUp(billing.t);
    expect((await answerTo(`${path}/reports`, outsider.auth))[0]).toBe(404);
    expect((await answerTo(`${path}/reports`, {}))[0]).toBe(401);
    expect((await answerTo('/v1/own-reports', {}))[0]).toBe(401);
    expect((await answerTo('/v1/organizations/not-an-id/reports', outsider.auth))[0]).toBe(400);
    expect(await answerTo('/v1/own-reports/open', {})).toEqual([200]);
  });

  it('is refused everywhere when no plan has the feature, and the refusal says so', async () => {
    const { admin, id, path } = await billing.newTenant();
    await billing.buyAtPolar({ metadata: { organizationId: id }, product_id: PRODUCT.business });
    const refusal = 'The plan Business does not include "of_no_plan". No plan includes it.';
    expect(await answerTo(`${path}/reports/none`, admin.auth)).toEqual([402, 'plan_required', refusal]);
  });

  it('documents the refusal in OpenAPI', async () => {
    const { body } = await billing.t.http.get('/openapi.json').expect(200);
    const { responses } = body.paths['/v1/own-reports'].get;
    expect(JSON.stringify(responses['402'])).toContain('plan_required');
  });
});
