import { SMTPServer } from 'smtp-server';

export interface ReceivedMail {
  to: string;
  subject: string;
  text: string;
}

/** A real SMTP server that keeps what it is sent. Pass its `url` as `SMTP_URL`. */
export async function startMailServer(at = 0): Promise<{
  url: string;
  mails: ReceivedMail[];
  next(to: string, subject?: RegExp): Promise<ReceivedMail>;
  close(): Promise<void>;
}> {
  const mails: ReceivedMail[] = [];
  const server = new SMTPServer({
    authOptional: true,
    disabledCommands: ['STARTTLS', 'AUTH'],
    onData(stream, _session, done) {
      const chunks: Buffer[] = [];
      stream.on('data', (chunk: Buffer) => chunks.push(chunk));
      stream.on('end', () => {
        mails.push(parse(Buffer.concat(chunks).toString()));
        done();
      });
    },
  });
  await new Promise<void>((resolve) => server.listen(at, '127.0.0.1', resolve));
  const { port } = server.server.address() as { port: number };
  const next = async (to: string, subject = /./): Promise<ReceivedMail> => {
    for (let waited = 0; waited < 15_000; waited += 20) {
      const index = mails.findIndex((mail) => mail.to === to && subject.test(mail.subject));
      if (index !== -1) return mails.splice(index, 1)[0]!;
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    throw new Error(`No mail to ${to} came; there are: ${mails.map((mail) => `${mail.to} ${mail.subject}`).join(', ')}`);
  };
  return { url: `smtp://127.0.0.1:${port}`, mails, next, close: () => new Promise((resolve) => server.close(() => resolve())) };
}

function parse(raw: string): ReceivedMail {
  const [head = '', ...rest] = raw.split('\r\n\r\n');
  const header = (name: string) => new RegExp(`^${name}: (.*)$`, 'im').exec(head)?.[1] ?? '';
  const body = rest.join('\r\n\r\n');
  const quoted = /^content-transfer-encoding: quoted-printable/im.test(head);
  const text = quoted
    ? body.replaceAll(/=\r\n/g, '').replaceAll(/=([\dA-F]{2})/g, (_, hex: string) => String.fromCharCode(parseInt(hex, 16)))
    : body;
  return { to: header('To'), subject: header('Subject'), text };
}

/** The first link of a mail. */
export function linkIn(mail: ReceivedMail): URL {
  return new URL(/https?:\/\/\S+/.exec(mail.text)![0]);
}
