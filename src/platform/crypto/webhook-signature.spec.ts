import { createHmac } from 'node:crypto';
import { verifiedMessageId } from './webhook-signature.js';

interface Vector {
  secret: string;
  headers: Record<string, string>;
  body: string;
}

const keyOf = (secret: string) => Buffer.from(secret.replace(/^whsec_/, ''), 'base64');
const at = (seconds: number) => new Date(seconds * 1000);

/** Signed by the official libraries. */
const VECTORS: Record<string, Vector> = {
  // https://github.com/standard-webhooks/standard-webhooks, libraries/javascript/src/webhook.test.ts
  'Standard Webhooks': {
    secret: 'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw',
    headers: {
      'webhook-id': 'msg_p5jXN8AQM9LWM0D4loKWxJek',
      'webhook-timestamp': '1614265330',
      'webhook-signature': 'v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=',
    },
    body: '{"test": 2432232314}',
  },
  // https://docs.svix.com/receiving/verifying-payloads/how-manual
  Svix: {
    secret: 'whsec_plJ3nmyCDGBKInavdOK15jsl',
    headers: {
      'svix-id': 'msg_loFOjxBNrRLzqYUf',
      'svix-timestamp': '1731705121',
      'svix-signature': 'v1,rAvfW3dJ/X/qxhsaXPOyyCGmRKsaKWcsNccKXlIktD0=',
    },
    body: '{"event_type":"ping","data":{"success":true}}',
  },
  // Clerk's own example of organizationMembership.created, signed and verified with svix 1.99.1 and @clerk/backend 3.25.0
  Clerk: {
    secret: 'whsec_Y2xlcmstdGVzdC1zaWduaW5nLXNlY3JldC0wMTIzNDU2Nzg5',
    headers: {
      'svix-id': 'msg_2g7np7Hrk0SN6kj5EDMLDaKNL0S',
      'svix-timestamp': '1767225605',
      'svix-signature': 'v1,peYWl7JHhUlG+nYHzdxOKABvCLTwzywHZGdHjyHxdVs=',
    },
    body: '{"event_attributes":{"http_request":{"client_ip":"192.168.1.100","user_agent":"Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/128.0.0.0 Safari/537.36"}},"object":"event","type":"organizationMembership.created","instance_id":"ins_2g7np7Hrk0SN6kj5EDMLDaKNL0S","timestamp":1716883200,"data":{"object":"organization_membership","id":"orgmem_2g7np7Hrk0SN6kj5EDMLDaKNL0S","role":"org:member","role_name":"Member","permissions":["org:posts:read","org:posts:write"],"public_metadata":{},"private_metadata":{},"organization":{"object":"organization","id":"org_2g7np7Hrk0SN6kj5EDMLDaKNL0S","name":"Acme Corp","slug":"acme-corp","image_url":"https://img.clerk.com/xxxxxx","has_image":true,"members_count":2,"missing_member_with_elevated_permissions":false,"pending_invitations_count":0,"max_allowed_memberships":5,"admin_delete_enabled":true,"public_metadata":{},"private_metadata":{},"created_by":"user_2g7np7Hrk0SN6kj5EDMLDaKNL0S","created_at":1716883200000,"updated_at":1716883200000},"public_user_data":{"user_id":"user_2h8op3Isl1QR7tKu5FGNfaLKEoU","first_name":"Jane","last_name":"Doe","profile_image_url":"https://img.clerk.com/yyyyy","image_url":"https://img.clerk.com/yyyyy","has_image":true,"identifier":"jane.doe@acme.com"},"created_at":1716883200000,"updated_at":1716883200000}}',
  },
};

describe('verifiedMessageId', () => {
  const { headers, body, secret } = VECTORS['Standard Webhooks']!;
  const bytes = Buffer.from(body);
  const keys = [keyOf(secret)];
  const sent = 1614265330;
  const now = at(sent);
  const ID = headers['webhook-id'];

  /** A signature of our own making; the official vectors say that it is made right. */
  function signed(content: Buffer | string, id: string, timestamp: string, key = keys[0]!): Record<string, string> {
    const mac = createHmac('sha256', key).update(`${id}.${timestamp}.`).update(content).digest('base64');
    return { 'webhook-id': id, 'webhook-timestamp': timestamp, 'webhook-signature': `v1,${mac}` };
  }

  it.each(Object.entries(VECTORS))('accepts the signature of %s', (_name, vector) => {
    const [id, timestamp] = Object.values(vector.headers);
    expect(verifiedMessageId(vector.headers, Buffer.from(vector.body), [keyOf(vector.secret)], at(Number(timestamp)))).toBe(id);
  });

  it('accepts either family of headers, and prefers Svix’s', () => {
    const svix = Object.fromEntries(Object.entries(headers).map(([name, value]) => [name.replace('webhook-', 'svix-'), value]));
    expect(verifiedMessageId(svix, bytes, keys, now)).toBe(ID);
    expect(verifiedMessageId({ ...headers, ...signed('other', 'other', '1'), ...svix }, bytes, keys, now)).toBe(ID);
    expect(verifiedMessageId({ ...headers, 'svix-id': 'msg_other' }, bytes, keys, now)).toBeUndefined();
  });

  it.each([
    [-301, false],
    [-300, true],
    [300, true],
    [301, false],
  ])('checks the age of a message sent %d seconds from now', (seconds, isFresh) => {
    expect(verifiedMessageId(headers, bytes, keys, at(sent - seconds)) !== undefined).toBe(isFresh);
  });

  it('accepts any of several signatures by any of several keys', () => {
    const right = headers['webhook-signature']!;
    const wrong = `v1,${Buffer.alloc(32).toString('base64')}`;
    const withSignature = (signature: string) => ({ ...headers, 'webhook-signature': signature });
    for (const signature of [`${wrong} ${right}`, `v2,${right.slice(3)} ${right}`, `v1a,abc ${right}`, `  ${right} `, `${right} junk`]) {
      expect(verifiedMessageId(withSignature(signature), bytes, [Buffer.alloc(24), ...keys], now)).toBe(ID);
    }
  });

  it.each<[string, Record<string, string | string[]>]>([
    ['another version alone', { 'webhook-signature': headers['webhook-signature']!.replace('v1,', 'v1a,') }],
    ['a signature without a version', { 'webhook-signature': headers['webhook-signature']!.slice(3) }],
    ['half a signature', { 'webhook-signature': headers['webhook-signature']!.slice(0, 20) }],
    ['an empty signature', { 'webhook-signature': 'v1,' }],
    ['signatures parted by commas', { 'webhook-signature': `v1,AAAA,${headers['webhook-signature']}` }],
    ['another id', { 'webhook-id': 'msg_other' }],
    ['an empty id', { 'webhook-id': '' }],
    ['another time', { 'webhook-timestamp': String(sent + 1) }],
    ['a time with junk behind it', { 'webhook-timestamp': `${sent}junk` }],
    ['a time in milliseconds', { 'webhook-timestamp': `${sent}000` }],
    ['a negative time', { 'webhook-timestamp': `-${sent}` }],
    ['an empty time', { 'webhook-timestamp': '' }],
    ['a header twice', { 'webhook-signature': [headers['webhook-signature']!, headers['webhook-signature']!] }],
  ])('refuses %s', (_what, changed) => {
    expect(verifiedMessageId({ ...headers, ...changed }, bytes, keys, now)).toBeUndefined();
  });

  it.each(['webhook-id', 'webhook-timestamp', 'webhook-signature'])('refuses a message without %s', (name) => {
    expect(verifiedMessageId({ ...headers, [name]: undefined }, bytes, keys, now)).toBeUndefined();
  });

  it('refuses another key, and every message without a key', () => {
    expect(verifiedMessageId(headers, bytes, [Buffer.alloc(24)], now)).toBeUndefined();
    expect(verifiedMessageId(headers, bytes, [], now)).toBeUndefined();
  });

  it('refuses a body that was changed in any byte, or only in its spaces', () => {
    for (const index of bytes.keys()) {
      const changed = Buffer.from(bytes);
      changed[index]! ^= 1;
      expect(verifiedMessageId(headers, changed, keys, now)).toBeUndefined();
    }
    for (const other of [body.replace(' ', ''), `${body}\n`, body.slice(0, -1), '']) {
      expect(verifiedMessageId(headers, Buffer.from(other), keys, now)).toBeUndefined();
    }
  });

  it('accepts a binary body and an empty one', () => {
    for (const content of [Buffer.from([0xff, 0xfe, 0, 0xc3]), Buffer.alloc(0)]) {
      expect(verifiedMessageId(signed(content, 'msg_1', String(sent)), content, keys, now)).toBe('msg_1');
    }
  });
});
