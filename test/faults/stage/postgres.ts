import { execFileSync } from 'node:child_process';
import { chmodSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { startEmbeddedPostgres, type EmbeddedPostgres } from '../../../src/platform/database/embedded/embedded-postgres.js';
import { isAlive, readPidFile } from '../../../src/platform/database/embedded/server-process.js';
import { startTcpProxy, type TcpProxy } from '../../support/tcp-proxy.js';

const SETTINGS = ['max_connections=100', 'shared_buffers=64MB', 'max_wal_size=256MB', 'scram_iterations=1'];

/** A durable server that can be restarted and frozen. Its port changes with a restart, so it is reached through proxies. */
export class FaultyPostgres {
  private constructor(
    private readonly directory: string,
    private server: EmbeddedPostgres,
    private readonly target: { host: string; port: number },
    /** For the program: delays, swallows and cuts. */
    readonly network: TcpProxy,
    /** For the checks. */
    private readonly direct: TcpProxy,
  ) {}

  static async start(): Promise<FaultyPostgres> {
    const directory = mkdtempSync(path.join(tmpdir(), 'tenantry-faults-'));
    // For root, PostgreSQL runs under its own account.
    chmodSync(directory, 0o711);
    const server = await startEmbeddedPostgres({ directory, password: 'faults', settings: SETTINGS });
    const target = { host: '127.0.0.1', port: Number(new URL(server.url).port) };
    return new FaultyPostgres(directory, server, target, await startTcpProxy(target), await startTcpProxy(target));
  }

  get url(): string {
    return Object.assign(new URL(this.server.url), { port: String(this.direct.port) }).href;
  }

  /** `immediate` is a crash: the server replays its log at the next start. */
  async restart(how: 'fast' | 'immediate'): Promise<void> {
    const pid = this.pid();
    process.kill(pid, how === 'fast' ? 'SIGINT' : 'SIGQUIT');
    while (isAlive(pid)) await new Promise((resolve) => setTimeout(resolve, 20));
    this.server = await startEmbeddedPostgres({ directory: this.directory, password: 'faults', settings: SETTINGS });
    this.target.port = Number(new URL(this.server.url).port);
  }

  /** Stops or continues all its processes. */
  freeze(signal: 'SIGSTOP' | 'SIGCONT'): void {
    const parent = this.pid();
    const lines = execFileSync('ps', ['-axo', 'pid=,ppid='], { encoding: 'utf8' }).split('\n');
    const children = lines.map((line) => line.trim().split(/\s+/).map(Number)).filter(([, ppid]) => ppid === parent);
    for (const pid of [parent, ...children.map(([child]) => child!)]) if (isAlive(pid)) process.kill(pid, signal);
  }

  async stop(): Promise<void> {
    for (const proxy of [this.network, this.direct]) await proxy.close();
    await this.server.stop();
    for (const one of [this.directory, this.server.directory]) rmSync(one, { recursive: true, force: true });
  }

  private pid(): number {
    return readPidFile(path.join(this.server.directory, 'data'))!.pid;
  }
}
