import fc from 'fast-check';
import { addressBlockOf, clientAddressOf, normalizeAddress } from './network-addresses.js';

describe('a network address', () => {
  it.each([
    ['203.0.113.7', '203.0.113.7'],
    [' 203.0.113.7 ', '203.0.113.7'],
    ['203.0.113.7:55123', '203.0.113.7'],
    ['203.0.113.7:0', '203.0.113.7'],
    ['[2001:db8::1]:443', '2001:db8::1'],
    ['[2001:db8::1]', '2001:db8::1'],
    ['[::ffff:203.0.113.7]:443', '203.0.113.7'],
    ['2001:DB8:0:0:1:0:0:1', '2001:db8::1:0:0:1'],
    ['fe80::1%eth0', 'fe80::1'],
    ['[fe80::1%25eth0]:80', 'fe80::1'],
    ['::ffff:203.0.113.7', '203.0.113.7'],
    ['::FFFF:cb00:7107', '203.0.113.7'],
    ['0:0:0:0:0:ffff:203.0.113.7', '203.0.113.7'],
    ['64:ff9b::203.0.113.7', '203.0.113.7'],
    ['64:ff9b::cb00:7107', '203.0.113.7'],
    ['[64:ff9b::cb00:7107]:5000', '203.0.113.7'],
    ['::ffff:0:203.0.113.7', '203.0.113.7'],
    ['2002:cb00:7107::1', '2002:cb00:7107::1'],
    ['2001:db8:1:2:3:4:203.0.113.7', '2001:db8:1:2:3:4:cb00:7107'],
    ['::1', '::1'],
    ['::', '::'],
  ])('is spelled one way: %s is %s', (given, normalized) => {
    expect(normalizeAddress(given)).toBe(normalized);
  });

  it.each([
    undefined,
    '',
    'unknown',
    '_hidden',
    'localhost',
    '203.0.113',
    '203.0.113.256',
    '203.0.113.07',
    '0x7f.0.0.1',
    '2130706433',
    '203.0.113.7:port',
    '203.0.113.7:123456',
    '203.0.113.7, 203.0.113.8',
    '203.0.113.7%eth0',
    '2001:db8::1::2',
    '[2001:db8::1',
    '2001:db8::1]:80',
    '[2001:db8::1]:80:80',
    '[]:80',
    'http://203.0.113.7',
    `2001:db8::1%${'z'.repeat(200)}`,
    '203.0.113.7\0',
    '203.0.113.7\r\nx: y',
  ])('is not read from %j', (given) => {
    expect(normalizeAddress(given)).toBeUndefined();
  });

  it('has at most 39 characters for any input, and does not change when it is normalized again', () => {
    fc.assert(
      fc.property(fc.oneof(fc.string(), fc.ipV4(), fc.ipV6()), (text) => {
        const normalized = normalizeAddress(text);
        expect(normalized?.length ?? 0).toBeLessThanOrEqual(39);
        expect(normalizeAddress(normalized)).toBe(normalized);
      }),
    );
  });

  it('is read from the request', () => {
    expect(clientAddressOf({ ip: '203.0.113.7:1234' })).toBe('203.0.113.7');
    expect(clientAddressOf({ ip: undefined })).toBeUndefined();
  });
});

describe('the block of an address', () => {
  it.each([
    ['203.0.113.7', '203.0.113.7'],
    ['2001:db8:1:2:3:4:5:6', '2001:db8:1:2::/64'],
    ['2001:db8:1:2::', '2001:db8:1:2::/64'],
    ['2001:db8::1', '2001:db8:0:0::/64'],
    ['::1', '0:0:0:0::/64'],
    ['fe80::1', 'fe80:0:0:0::/64'],
    ['2002:cb00:7107::1', '203.0.113.7'],
    ['2002:cb00:7107:ffff::1', '203.0.113.7'],
    [undefined, 'unknown'],
  ])('of %s is %s', (address, block) => {
    expect(addressBlockOf(address)).toBe(block);
  });

  it('holds all addresses of one /64 and no others', () => {
    const group = fc.integer({ min: 0, max: 0xffff }).map((value) => value.toString(16));
    const groups = (length: number) => fc.array(group, { minLength: length, maxLength: length });
    // Outside of 2002::/16 and of the ranges that carry IPv4 addresses.
    const network = fc.tuple(fc.constant('2001'), groups(3)).map(([first, rest]) => [first, ...rest]);
    fc.assert(
      fc.property(network, groups(4), groups(4), (prefix, host, otherHost) => {
        const block = addressBlockOf(normalizeAddress([...prefix, ...host].join(':')));
        expect(addressBlockOf(normalizeAddress([...prefix, ...otherHost].join(':')))).toBe(block);
        expect(block).toBe(`${prefix.join(':')}::/64`);
      }),
    );
  });
});
