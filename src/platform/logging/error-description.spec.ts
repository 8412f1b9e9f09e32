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

  it('shows any other error whole', () => {
    expect(describeError(new TypeError('x is no function'))).toMatchObject({
      type: 'TypeError',
      message: 'x is no function',
      stack: expect.stringContaining('error-description.spec'),
    });
  });
});
