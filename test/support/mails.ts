import { SMTPServer } from 'smtp-server';
import { until } from './until.js';

export interface ReceivedMail {
  to: string;
  subject: string;
  text: string;
  /** As received, one per line. */
  headers: string[];
}

/** A real SMTP server that stores the mails it receives. Pass its `url` as `SMTP_URL`. */
export async function startMailServer({ port: requestedPort = 0 } = {}): Promise<{
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
  await new Promise<void>((resolve) => server.listen(requestedPort, '127.0.0.1', resolve));
  const { port } = server.server.address() as { port: number };
  const next = async (to: string, subject = /./): Promise<ReceivedMail> => {
    const isIt = (mail: ReceivedMail) => mail.to === to && subject.test(mail.subject);
    const others = () => `no mail to ${to} came; there are: ${mails.map((mail) => `${mail.to} ${mail.subject}`).join(', ')}`;
    const found = await until(() => mails.find(isIt), others);
    mails.splice(mails.indexOf(found), 1);
    return found;
  };
  return { url: `smtp://127.0.0.1:${port}`, mails, next, close: () => new Promise((resolve) => server.close(() => resolve())) };
}

function parse(raw: string): ReceivedMail {
  const [head = '', ...rest] = raw.split('\r\n\r\n');
  // A long header continues on lines that start with white space.
  const headers = head.replaceAll(/\r\n[ \t]+/g, ' ').split('\r\n');
  const header = (name: string) => {
    const line = headers.find((one) => one.toLowerCase().startsWith(`${name.toLowerCase()}: `)) ?? '';
    return decodeWords(line.slice(name.length + 2));
  };
  const body = rest.join('\r\n\r\n');
  const encoding = header('Content-Transfer-Encoding').toLowerCase();
  const text = encoding === 'base64' ? Buffer.from(body, 'base64').toString() : encoding === 'quoted-printable' ? unquote(body) : body;
  return { to: header('To'), subject: header('Subject'), text, headers };
}

function unquote(text: string): string {
  return decodeBytes(text.replaceAll(/=\r\n/g, ''));
}

/** Decodes bytes, because `=C3=BC` is one letter. */
function decodeBytes(text: string): string {
  return text.replaceAll(/(?:=[\dA-F]{2})+/g, (bytes) => Buffer.from(bytes.replaceAll('=', ''), 'hex').toString());
}

/** RFC 2047, for a subject that is not plain ASCII. */
function decodeWords(text: string): string {
  return text
    .replaceAll(/\?= +=\?/g, '?==?')
    .replaceAll(/=\?utf-8\?([BQ])\?(.*?)\?=/gi, (_, kind: string, word: string) =>
      kind.toUpperCase() === 'B' ? Buffer.from(word, 'base64').toString() : decodeBytes(word.replaceAll('_', ' ')),
    );
}

/** The first link in a mail. */
export function linkIn(mail: ReceivedMail): URL {
  return new URL(/https?:\/\/\S+/.exec(mail.text)![0]);
}
