import { maskSecrets, parsePayload } from './payloads.js';
import { MalformedPayload } from './webhook-provider.port.js';

const read = (text: string) => parsePayload(Buffer.from(text));

/** An array nested this deep. */
const nested = (depth: number) => `${'['.repeat(depth)}${']'.repeat(depth)}`;

describe('parsePayload', () => {
  it('reads JSON of any kind, including NUL characters and lone surrogates', () => {
    expect(read('{"a":[1,null,{"b":"ü\\u0000\\ud800"}]}')).toEqual({ a: [1, null, { b: 'ü\0\ud800' }] });
    expect(['null', '7', '"x"', '[]', ' {} '].map(read)).toEqual([null, 7, 'x', [], {}]);
  });

  it.each<[string, Buffer]>([
    ['nothing', Buffer.alloc(0)],
    ['half of it', Buffer.from('{"type":"user.cre')],
    ['two of them', Buffer.from('{}{}')],
    ['a form', Buffer.from('type=user.created')],
    ['a byte order mark before it', Buffer.from('\ufeff{}')],
    ['bytes that are no UTF-8', Buffer.from([0x7b, 0x22, 0xff, 0x22, 0x3a, 0x31, 0x7d])],
    ['a character that is cut in half', Buffer.from('{"a":"ü"}').fill(0x22, 7, 8)],
    ['text in UTF-16', Buffer.from('{}', 'utf16le')],
  ])('cannot read %s', (_what, body) => {
    expect(() => parsePayload(body)).toThrow(new MalformedPayload('The body is not JSON in UTF-8'));
  });

  it('never quotes the body it cannot parse', () => {
    expect(() => read('{"otp_code":"424242"')).toThrow(/^((?!424242).)*$/s);
  });

  it('reads 64 levels of nesting and refuses 65', () => {
    expect(() => read(nested(64))).not.toThrow();
    expect(() => read(nested(65))).toThrow(new MalformedPayload('The body is nested deeper than 64 levels'));
    expect(() => read(nested(400_000))).toThrow(MalformedPayload);
  });

  it('refuses the key __proto__ at any depth', () => {
    for (const text of ['{"__proto__":{"admin":true}}', '{"data":[{"a":{"__proto__":1}}]}', '{"\\u005f_proto__":null}']) {
      expect(() => read(text)).toThrow(new MalformedPayload('The body has a forbidden key: __proto__'));
    }
    expect(read('{"a":"__proto__"}')).toEqual({ a: '__proto__' });
  });
});

describe('maskSecrets', () => {
  it('masks every field that could sign somebody in, at any depth, and nothing else', () => {
    const payload = {
      type: 'organizationInvitation.created',
      data: {
        id: 'orginv_1',
        url: 'https://accounts.example.com/accept?ticket=secret',
        image_url: 'https://img.example.com',
        private_metadata: { plan: 'secret' },
        public_metadata: { plan: 'pro' },
        email_addresses: [{ id: 'idn_1', verification: { status: 'verified', token: 'secret' } }],
        data: { otp_code: 'secret', nested: [{ Authorization: { scheme: 'secret' } }] },
        body_plain: 'secret',
        session_token: null,
      },
    };
    expect(maskSecrets(payload)).toEqual({
      type: 'organizationInvitation.created',
      data: {
        id: 'orginv_1',
        url: '[masked]',
        image_url: 'https://img.example.com',
        private_metadata: '[masked]',
        public_metadata: { plan: 'pro' },
        email_addresses: [{ id: 'idn_1', verification: { status: 'verified', token: '[masked]' } }],
        data: { otp_code: '[masked]', nested: [{ Authorization: '[masked]' }] },
        body_plain: '[masked]',
        session_token: null,
      },
    });
  });

  it('leaves payloads that are not objects unchanged', () => {
    expect([null, 7, 'token', ['a', 1]].map(maskSecrets)).toEqual([null, 7, 'token', ['a', 1]]);
  });
});
