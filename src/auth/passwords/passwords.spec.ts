import { Passwords } from './passwords.service.js';

describe('Passwords', () => {
  const passwords = new Passwords();

  it('writes a PHC string with the parameters of OWASP', async () => {
    const hash = await passwords.hash('correct horse');
    expect(hash).toMatch(/^\$argon2id\$v=19\$m=19456,t=2,p=1\$[\w+/]{22}\$[\w+/]{43}$/);
  });

  it('verifies the password it was made from, and no other', async () => {
    const hash = await passwords.hash('correct horse');
    expect(await passwords.verify(hash, 'correct horse')).toBe(true);
    for (const wrong of ['Correct horse', 'correct horse ', '', 'correct hors']) expect(await passwords.verify(hash, wrong)).toBe(false);
  });

  it('hashes one password differently each time', async () => {
    const [one, two] = await Promise.all([passwords.hash('same'), passwords.hash('same')]);
    expect(one).not.toBe(two);
  });

  it('accepts a password in any Unicode composition', async () => {
    const hash = await passwords.hash('Ångström ﬁx'.normalize('NFD'));
    expect(await passwords.verify(hash, 'Ångström ﬁx'.normalize('NFC'))).toBe(true);
    expect(await passwords.verify(hash, 'Ångström fix')).toBe(true);
  });

  it('verifies hashes with other parameters, so that ours can be raised', async () => {
    // A vector of the reference implementation (phc-winner-argon2, test.c).
    const foreign = '$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4';
    expect(await passwords.verify(foreign, 'password')).toBe(true);
    expect(await passwords.verify(foreign, 'passwore')).toBe(false);
  });

  it('throws for an invalid stored hash, and never accepts a password for it', async () => {
    for (const broken of [
      '',
      'plain text',
      '$argon2i$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65',
      '$2b$10$abcdefghijklmnopqrstuv',
      '$argon2id$v=19$m=256,t=2,p=1$$',
    ])
      await expect(passwords.verify(broken, 'password')).rejects.toThrow('argon2id');
  });

  it('does as much work for a wrong password as for a new hash', async () => {
    const hash = await passwords.hash('x');
    const parameters = (phc: string) => phc.split('$').slice(1, 4);
    expect(parameters(await passwords.hash('y'))).toEqual(parameters(hash));
  });
});
