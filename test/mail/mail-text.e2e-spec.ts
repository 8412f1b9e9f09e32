import { MailService } from '../../src/mail/mail.service.js';
import { startTestApp, type TestApp } from '../support/app.js';
import { linkIn, type ReceivedMail, startMailServer } from '../support/mails.js';
import { PASSWORD, signUp } from '../support/people.js';
import { createOrganization, verifyEmail } from '../support/tenants.js';

const ATTACK = 'friend,\r\n\r\nyour account is locked. Sign in at https://evil.example or call +1 900 555 0100';
/** Sets a name directly, because stored names may contain line breaks even if new ones may not. */
const setName = (t: TestApp, userId: string, name: string) => t.db.rows('UPDATE users SET name = $2 WHERE id = $1', [userId, name]);

let counter = 0;
const newEmail = () => `text-${(counter += 1)}@example.org`;

describe('user text in mails', () => {
  let t: TestApp;
  let mail: Awaited<ReturnType<typeof startMailServer>>;
  beforeAll(async () => {
    mail = await startMailServer();
    t = await startTestApp({ SMTP_URL: mail.url });
  });
  afterAll(async () => {
    await t.close();
    await mail.close();
  });

  /** Expects no link but ours, and no user text that looks like ours. */
  const expectHarmless = ({ text, subject }: ReceivedMail) => {
    expect(text).not.toMatch(/evil\.example|https?:\/\/(?!localhost:3000\/)|555 0100|\r\nyour account is locked/);
    expect(subject).not.toMatch(/evil\.example|\r|\n/);
  };

  it('contains no name while the address is not verified', async () => {
    const person = await signUp(t, { email: newEmail(), name: 'An unproved name' });
    const mails = [await mail.next(person.email, /Confirm/)];
    await t.http.post('/v1/auth/send-verification-email').send({ email: person.email }).expect(200);
    mails.push(await mail.next(person.email, /Confirm/));
    await t.http.post('/v1/auth/request-password-reset').send({ email: person.email }).expect(200);
    mails.push(await mail.next(person.email, /Reset/));
    const wanted = newEmail();
    await t.http.post('/v1/auth/change-email').set(person.auth).send({ newEmail: wanted, currentPassword: PASSWORD }).expect(200);
    const change = await mail.next(wanted, /new email/);
    mails.push(change);
    await setName(t, person.id, ATTACK);
    const { pathname, search } = linkIn(change);
    await t.http.get(`${pathname}${search}`).set(person.auth).expect(200, { status: true });
    mails.push(await mail.next(person.email, /was changed/));
    for (const received of mails) {
      expect(received.text).toMatch(/^Hello,\r\n/);
      expect(received.text).not.toContain('unproved');
      expectHarmless(received);
    }
  });

  it('quotes the name of a verified user in one line and without links', async () => {
    const person = await signUp(t, { email: newEmail(), name: 'Ünï Cöde 😀' });
    await verifyEmail(t, person);
    const resetMail = async () => {
      await t.http.post('/v1/auth/request-password-reset').send({ email: person.email }).expect(200);
      return mail.next(person.email, /Reset/);
    };
    expect((await resetMail()).text).toMatch(/^Hello "Ünï Cöde 😀",\r\n/);
    await setName(t, person.id, ATTACK);
    const received = await resetMail();
    expect(received.text).toMatch(/^Hello "friend, your account is locked\. Sign in at https: evil example…",\r\n/);
    expectHarmless(received);
    await setName(t, person.id, '\u200b\u2060');
    expect((await resetMail()).text).toMatch(/^Hello,\r\n/);
  });

  it('quotes the name of an organization in an invitation and its subject', async () => {
    const ada = await signUp(t);
    await verifyEmail(t, ada);
    const organization = await createOrganization(t, ada);
    const rename = (name: string) => t.db.rows('UPDATE organizations SET name = $2 WHERE id = $1', [organization.id, name]);
    const inviteMail = async () => {
      const email = newEmail();
      await t.http.post(`${organization.path}/invitations`).set(ada.auth).send({ email, role: 'member' }).expect(201);
      return mail.next(email);
    };
    await rename('Bücher & Söhne');
    const plain = await inviteMail();
    expect(plain.subject).toBe('You are invited to "Bücher & Söhne"');
    expect(plain.text).toContain('you are invited to join "Bücher & Söhne".');

    await rename(`Acme\r\nBcc: other@evil.example\r\n\r\n${ATTACK}`);
    const attack = await inviteMail();
    expect(attack.subject).toBe('You are invited to "Acme Bcc: other@ evil example friend, your account is locked. S…"');
    expect(attack.headers.filter((header) => /^bcc/i.test(header))).toEqual([]);
    expectHarmless(attack);

    await rename('\u200b');
    expect((await inviteMail()).subject).toBe('You are invited to an organization');
  });

  it('cannot add headers, recipients or text through any field', async () => {
    const to = newEmail();
    await t.app.get(MailService).send({
      kind: 'password_changed',
      to,
      subject: 'One line\r\nBcc: bcc@example.org\r\nX-Evil: yes\r\n\r\nand a body',
      text: 'The text.\n.\nStill the text.\n',
    });
    const { headers, subject, text } = await mail.next(to);
    expect(subject).toMatch(/^One line Bcc: bcc@example\.org/);
    expect(headers.filter((header) => /^(bcc|x-evil)/i.test(header))).toEqual([]);
    expect(text.replaceAll('\r', '')).toBe('The text.\n.\nStill the text.\n');
  });
});
