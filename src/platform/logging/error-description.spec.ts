import { DrizzleQueryError } from 'drizzle-orm';
import { describeError } from './error-description.js';

const SECRETS = ['ada@example.com', '$argon2id$', 'Failing row'];

function failedQuery(): DrizzleQueryError {
  const cause = Object.assign(new Error('duplicate key value violates unique constraint "users_email_key"'), {
    code: '23505',
    detail: 'Failing row contains (ada@example.com, $argon2id$v=19).',
    where: 'COPY users, line 1: ada@example.com',
  });
  return new DrizzleQueryError('insert into "users" values ($1, $2)', ['ada@example.com', '$argon2id$v=19'], cause);
}

describe('describeError', () => {
  it.each<[string, () => Error & { raw?: Error }]>([
    ['itself', failedQuery],
    ['inside another one', () => new Error('The change did not work', { cause: failedQuery() })],
    ['serialized before by pino-http', () => Object.assign(new Error(failedQuery().message), { raw: failedQuery() })],
  ])('shows a failed statement, %s, without its parameters and rows', (_how, make) => {
    const described = JSON.stringify(describeError(make()));
    for (const secret of SECRETS) expect(described).not.toContain(secret);
    expect(described).toContain('users_email_key');
    expect(described).toContain('23505');
    expect(described).toContain('insert into');
    expect(described).toContain('error-description.spec');
  });

  it('shows the type, the message and the place of any other error', () => {
    expect(describeError(new TypeError('x is no function'))).toMatchObject({
      type: 'TypeError',
      message: 'x is no function',
      stack: expect.stringContaining('error-description.spec'),
    });
  });

  it('shows no request or response that a library puts on its error', () => {
    const error = Object.assign(new Error('Refused'), {
      code: 'E_REFUSED',
      statusCode: 401,
      headers: { authorization: 'Bearer hidden-1' },
      body: 'hidden-2',
      request: { url: 'https://x.test/?token=hidden-3' },
      cause: Object.assign(new Error('inner'), { config: 'hidden-4' }),
    });
    const described = describeError(error);
    expect(described).toMatchObject({ code: 'E_REFUSED', statusCode: 401 });
    expect(JSON.stringify(described)).not.toContain('hidden-');
  });

  it.each([
    `tnt_live_${'x'.repeat(40)}`,
    `tnt_test_${'x'.repeat(40)}`,
    `whsec_${'x'.repeat(32)}`,
    `sk_live_${'x'.repeat(32)}`,
    `polar_oat_${'x'.repeat(32)}`,
    `eyJhbGciOiJIUzI1NiJ9.${'x'.repeat(20)}.${'x'.repeat(20)}`,
    `${'a1'.repeat(16)}.${'x+/'.repeat(14)}x=`,
    `${'a1'.repeat(16)}.${'x%2B'.repeat(14)}${'x'.repeat(28)}%3D`,
    'Authorization: bearer  xxxxxxxx',
    'Basic eHh4eHh4eHg=',
    'https://app.test/verify?token=xxxxxxxx&next=/',
    'https://app.test/callback?state=xxxxxxxx&CODE=xxxxxxxx',
    'postgres://tenantry:xxxxxxxx@db.test/tenantry',
    'smtps://:xxxxxxxx@mail.test',
  ])('removes the secret of %s from messages and stacks', (secret) => {
    const described = JSON.stringify(describeError(new Error(`Could not use "${secret}" here`)));
    expect(described).not.toMatch(/x{8}|x\+\/x|x%2B|eHh4/);
    expect(described).toContain('[redacted]');
    expect(described).toContain('here');
  });
});
