import { isTrustedOrigin, originPattern } from './trusted-origins.js';

describe('an entry of TRUSTED_ORIGINS', () => {
  it.each([
    ['https://app.example.com', 'https://app.example.com'],
    ['https://App.Example.com/', 'https://app.example.com'],
    ['http://localhost:5173', 'http://localhost:5173'],
    ['https://*.example.com', 'https://*.example.com'],
    ['https://*.Example.com/', 'https://*.example.com'],
    ['https://*.example.com:443', 'https://*.example.com'],
    ['https://*.example.com:8443', 'https://*.example.com:8443'],
    ['https://*.preview.example.co.uk', 'https://*.preview.example.co.uk'],
    ['https://*.bücher.example', 'https://*.xn--bcher-kva.example'],
  ])('%s is normalized to %s', (text, pattern) => {
    expect(originPattern(text)).toBe(pattern);
  });

  it.each([
    '*',
    '*.example.com',
    'https://*',
    'https://*.com',
    'https://*.localhost',
    'https://*.com.',
    'https://*..com',
    'http://*.example.com',
    'https://*example.com',
    'https://x*.example.com',
    'https://app.*.example.com',
    'https://*.*.example.com',
    'https://*.example.*',
    'https://*.example.com/path',
    'https://*.example.com?query',
    'https://*.example.com#part',
    'https://user@*.example.com',
    'https://*.user@example.com',
    'https://*.10.0.0.1',
    'https://*.example.com:*',
    'ftp://example.com',
    'javascript:alert(1)',
    'example.com',
    '',
  ])('%s is refused', (text) => {
    expect(originPattern(text)).toBeUndefined();
  });
});

describe('an origin from outside', () => {
  const trusted = ['https://api.example.com', 'http://localhost:5173', 'https://*.example.org', 'https://*.example.net:8443'];

  it.each([
    'https://api.example.com',
    'http://localhost:5173',
    'https://pr-1.example.org',
    'https://a_b.example.org',
    'https://xn--bcher-kva.example.org',
    'https://x.example.net:8443',
  ])('%s is trusted', (origin) => {
    expect(isTrustedOrigin(trusted, origin)).toBe(true);
  });

  it.each([
    'https://example.org',
    'https://.example.org',
    'https://a.b.example.org',
    'https://xexample.org',
    'https://x-example.org',
    'https://example.org.evil.com',
    'https://pr-1.example.org.evil.com',
    'https://evil.com/.example.org',
    'https://evil.com#.example.org',
    'https://evil.com?.example.org',
    'https://evil.com\\.example.org',
    'https://evil.com@pr-1.example.org',
    'https://pr-1.example.org@evil.com',
    'https://pr-1.example.org:8443',
    'https://pr-1.example.org:443',
    'https://pr-1.example.org/',
    'https://PR-1.example.org',
    'https://pr-1.example.org.',
    'https://bücher.example.org',
    'https://pr-1\u3002example.org',
    'https://*.example.org',
    'https://a%2eb.example.org',
    'https://x.example.net',
    'http://pr-1.example.org',
    'wss://pr-1.example.org',
    'blob:https://pr-1.example.org',
    'https://pr-1.example.org\n',
    'https://app.example.com',
    'null',
    '',
  ])('%s is not trusted', (origin) => {
    expect(isTrustedOrigin(trusted, origin)).toBe(false);
  });
});
