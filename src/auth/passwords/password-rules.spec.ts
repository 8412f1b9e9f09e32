import { loadConfig } from '../../platform/config/config.js';
import { WeakPassword } from '../auth.errors.js';
import { PasswordRules } from './password-rules.service.js';

const rules = new PasswordRules(
  loadConfig({
    DATABASE_URL: 'postgres://localhost/none',
    AUTH_SECRET: 'x'.repeat(32),
    ENCRYPTION_KEYS: `k:${Buffer.alloc(32).toString('base64')}`,
    MAIL_FROM: '"Acme Cloud" <no-reply@example.com>',
  }),
);
const EMAIL = 'ada.lovelace@example.com';
const check = (password: string, email: string | null = EMAIL) => rules.require(password, email);

describe('new passwords', () => {
  it.each([
    'password',
    '12345678',
    'PassWord',
    'qwertyuiop',
    'password123',
    '1qaz2wsx',
    'ｐａｓｓｗｏｒｄ',
    'pass\u200bword',
    ' password ',
    '        ',
    '\u00a0\u3000\u2003\u00a0\u3000\u2003\u00a0\u3000',
    '\u200b\u200b\u200b\u200b\u200b\u200b\u200b\u200b',
    EMAIL,
    EMAIL.toUpperCase(),
    `${EMAIL}1`,
    'ada.lovelace',
    '!!Ada.Lovelace99',
    'tenantry',
    'TENANTRY',
    'Tenantry2026!',
    '123tenantry',
    'acme cloud',
    'Acme Cloud 2026',
  ])('are refused: %j', async (password) => {
    await expect(check(password)).rejects.toThrow(WeakPassword);
  });

  it.each([
    'correct horse battery staple',
    'an even better horse',
    'tenantry is what we run',
    'lovelace and the engine',
    '😀'.repeat(65),
    'Zk3!pq9#vB',
  ])('are taken: %j', async (password) => {
    await expect(check(password)).resolves.toBeUndefined();
  });

  it('are compared with the email only where there is one, and with no short name inside of them', async () => {
    await expect(check('ada.lovelace', null)).resolves.toBeUndefined();
    await expect(check('9!7#5%3&1al', 'al@example.com')).resolves.toBeUndefined();
  });
});
