import { Server } from 'node:net';
import { jest } from '@jest/globals';
import { HttpAdapter } from './http-adapter.js';

describe('the HTTP server', () => {
  it('lets the kernel complete more connections than Node asks for by default, so that a burst is not dropped', async () => {
    const listen = jest.spyOn(Server.prototype, 'listen');
    const adapter = new HttpAdapter({ requestTimeoutMs: 1000, isBehindProxy: false });
    adapter.initHttpServer({});
    try {
      await new Promise<void>((resolve) => adapter.listen(0, '127.0.0.1', resolve));
      expect(listen.mock.calls[0]![0]).toMatchObject({ host: '127.0.0.1', backlog: 4096 });
    } finally {
      listen.mockRestore();
      await adapter.close();
    }
  });
});
