import { type ChildProcess, spawn } from 'node:child_process';
import net from 'node:net';
import { testEnvironment } from './app.js';

export interface TestProcess {
  url: string;
  stop(): Promise<void>;
}

/** The program itself, as a process of its own, on a port of its own. */
export async function startTestProcess(databaseUrl: string, environment: Record<string, string> = {}): Promise<TestProcess> {
  const port = await freePort();
  const child: ChildProcess = spawn(process.execPath, ['dist/main.js'], {
    env: { PATH: process.env['PATH'], ...testEnvironment(databaseUrl), HOST: '127.0.0.1', PORT: String(port), ...environment },
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  let complaints = '';
  child.stderr!.on('data', (chunk: Buffer) => (complaints += chunk.toString()));
  const ended = new Promise<void>((resolve) => child.once('exit', () => resolve()));
  const stop = async () => {
    if (child.exitCode === null && child.signalCode === null) child.kill('SIGTERM');
    await ended;
  };
  const url = `http://127.0.0.1:${port}`;
  for (const deadline = Date.now() + 90_000; ;) {
    if (child.exitCode !== null) throw new Error(`The process ended with ${child.exitCode}: ${complaints}`);
    const isReady = await fetch(`${url}/health/ready`).then(
      ({ ok }) => ok,
      () => false,
    );
    if (isReady) return { url, stop };
    if (Date.now() > deadline) {
      await stop();
      throw new Error(`The process did not get ready: ${complaints}`);
    }
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

async function freePort(): Promise<number> {
  const server = net.createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as net.AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}
