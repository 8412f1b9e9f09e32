import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import helmet from 'helmet';
import { API_HEADERS, DOCS_HEADERS } from './security-headers.js';

/** The headers that helmet sets by default, read from a real response. */
async function helmetHeaders(): Promise<Record<string, string>> {
  const server = createServer((request, response) => helmet()(request, response, () => response.end())).listen(0, '127.0.0.1');
  await once(server, 'listening');
  try {
    const response = await fetch(`http://127.0.0.1:${(server.address() as AddressInfo).port}`);
    const ofNode = ['connection', 'content-length', 'date', 'keep-alive', 'transfer-encoding'];
    return Object.fromEntries([...response.headers].filter(([name]) => !ofNode.includes(name)));
  } finally {
    server.close();
  }
}

describe('the security headers', () => {
  /** We choose these ourselves. */
  const OWN = ['content-security-policy', 'cross-origin-resource-policy', 'cache-control'];
  const withoutOwn = (headers: Readonly<Record<string, string>>) =>
    Object.fromEntries(Object.entries(headers).filter(([name]) => !OWN.includes(name)));

  it('include every default of helmet', async () => {
    const defaults = withoutOwn(await helmetHeaders());
    expect(Object.keys(defaults).length).toBeGreaterThan(8);
    expect(withoutOwn(API_HEADERS)).toEqual(defaults);
    expect(withoutOwn(DOCS_HEADERS)).toEqual(defaults);
  });
});
