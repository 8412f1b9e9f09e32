import { createServer, type RequestListener, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import path from 'node:path';
import type { INestApplication, Type } from '@nestjs/common';
import type * as application from '../../src/create-app.js';
import type { BetterAuthClient } from '../../src/auth/better-auth/better-auth.client.js';
import type { Passwords } from '../../src/auth/passwords/passwords.service.js';
import type * as config from '../../src/platform/config/config.js';
import type * as database from '../../src/platform/database/database.js';
import { isDocumented } from './documented.js';
import { holdStatements, type Lane, lanes } from './lane.js';

/** What a request has besides its route. */
export interface Call {
  as?: { auth: Record<string, string> };
  headers?: Record<string, string>;
  body?: object | string;
}

export interface Answer {
  status: number;
  body: { code?: string } & Record<string, unknown>;
  /** Says which answer of the API is in no document. */
  undocumented?: string;
}

/** One process of the application, without its background work. It sends one of the two operations of a race. */
export class Process {
  /** Of the operation that this process runs now. */
  lane?: Lane;
  private readonly server: Server;

  private constructor(
    private readonly app: INestApplication,
    private readonly build: string,
  ) {
    const handle = app.getHttpAdapter().getInstance() as RequestListener;
    this.server = createServer((request, response) => lanes.run(this.lane, () => handle(request, response)));
  }

  /** @param build the folder of the compiled program: `dist`, or a copy with a mutation */
  static async start(build: string, environment: Record<string, string>): Promise<Process> {
    const { loadConfig } = await load<typeof config>(build, 'platform/config/config.js');
    const { createApp } = await load<typeof application>(build, 'create-app.js');
    const { DATABASE } = await load<typeof database>(build, 'platform/database/database.js');
    const app = await createApp(loadConfig(environment));
    await app.init();
    // As at the start of a shutdown: workers and jobs stop, and requests go on.
    await (app as unknown as { callBeforeShutdownHook(): Promise<void> }).callBeforeShutdownHook();
    const process = new Process(app, build);
    const betterAuth = await process.service<BetterAuthClient>('auth/better-auth/better-auth.client.js', 'BetterAuthClient');
    for (const { $client } of [app.get<database.Database>(DATABASE), betterAuth['db']]) holdStatements($client);
    // The cost of production is half a core for a tenth of a second.
    const passwords = await process.service<Passwords>('auth/passwords/passwords.service.js', 'Passwords');
    passwords.cost = { memory: 64, passes: 1, parallelism: 1 };
    await new Promise<void>((resolve) => process.server.listen(0, '127.0.0.1', resolve));
    return process;
  }

  async stop(): Promise<void> {
    this.server.closeAllConnections();
    await new Promise((resolve) => this.server.close(resolve));
    await this.app.close();
  }

  async call(method: string, route: string, { as, headers, body }: Call = {}): Promise<Answer> {
    const { port } = this.server.address() as AddressInfo;
    const response = await fetch(`http://127.0.0.1:${port}${route}`, {
      method,
      headers: { 'content-type': 'application/json', ...as?.auth, ...headers },
      body: typeof body === 'object' ? JSON.stringify(body) : body,
    });
    const text = await response.text();
    const { status } = response;
    const answer = { status, body: (text === '' ? {} : JSON.parse(text)) as Answer['body'] };
    const { code } = answer.body;
    if (isDocumented(method, route, { status, code })) return answer;
    return { ...answer, undocumented: `${status} ${code} is not documented for ${method} ${route}` };
  }

  /** A service of this process, by its file and the name of its class. */
  async service<T>(file: string, name: string): Promise<T> {
    const { [name]: type } = await load<Record<string, Type<T>>>(this.build, file);
    return this.app.get(type!, { strict: false });
  }
}

async function load<T>(build: string, file: string): Promise<T> {
  return (await import(path.resolve(build, file))) as T;
}
