import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import type { OpenAPIObject, OperationObject, ParameterObject, ReferenceObject, ResponseObject, SchemaObject } from '@nestjs/swagger';
import openapiTypescript, { astToString } from 'openapi-typescript';
import ts from 'typescript';
import { startTestApp, type TestApp } from '../../support/app.js';

const document = JSON.parse(readFileSync('openapi.json', 'utf8')) as OpenAPIObject;

interface Operation {
  name: string;
  method: string;
  path: string;
  operation: OperationObject;
}

const operations: Operation[] = Object.entries(document.paths).flatMap(([address, item]) =>
  Object.entries(item as Record<string, OperationObject>).map(([method, operation]) => ({
    name: `${method.toUpperCase()} ${address}`,
    method,
    path: address,
    operation,
  })),
);

function resolve<T extends object>(part: T | ReferenceObject): T {
  if (!('$ref' in part)) return part;
  const target = part.$ref
    .slice(2)
    .split('/')
    .reduce<unknown>((node, key) => (node as Record<string, unknown>)[key], document);
  if (target === undefined) throw new Error(`${part.$ref} leads nowhere`);
  return resolve(target as T);
}

const responsesOf = ({ operation }: Operation) =>
  Object.entries(operation.responses).map(([status, response]): [string, ResponseObject] => [status, resolve(response!)]);

/** The names of the operations that break a rule. */
const breaking = (holds: (operation: Operation) => boolean) => operations.filter((one) => !holds(one)).map(({ name }) => name);

describe('the OpenAPI document', () => {
  let t: TestApp;
  beforeAll(async () => {
    t = await startTestApp();
  });
  afterAll(() => t.close());

  it('is served as it is committed (if not: npm run openapi)', async () => {
    const { body } = await t.http.get('/openapi.json').expect(200);
    expect(body).toEqual(document);
  });

  it('is shown by Swagger UI', async () => {
    const { text, headers } = await t.http.get('/docs').redirects(1).expect(200);
    expect(text).toContain('<title>Tenantry API</title>');
    expect(headers['content-security-policy']).toContain("script-src 'self';");
    const scripts = [...text.matchAll(/<script src="([^"]+)"/g)].map(([, address]) => address!);
    expect(scripts.length).toBeGreaterThan(0);
    for (const script of scripts) await t.http.get(new URL(script, `${t.url}/docs`).pathname).expect(200);
  });

  it('contains more than thirty operations with unique ids', () => {
    const ids = operations.map(({ operation }) => operation.operationId);
    expect(ids.length).toBeGreaterThan(30);
    expect(new Set(ids).size).toBe(ids.length);
    expect(ids.filter((id) => !/^[a-z][A-Za-z]+$/.test(id ?? ''))).toEqual([]);
  });

  it('has a summary without a full stop for every operation', () => {
    expect(breaking(({ operation: { summary = '' } }) => summary.length > 8 && !summary.endsWith('.'))).toEqual([]);
  });

  it('has one described tag for every operation', () => {
    const described = document.tags?.filter(({ description }) => description).map(({ name }) => name);
    expect(breaking(({ operation: { tags = [] } }) => tags.length === 1 && described?.includes(tags[0]!) === true)).toEqual([]);
  });

  it('declares the credentials of every operation, or that it needs none', () => {
    const known = Object.keys(document.components?.securitySchemes ?? {});
    const schemes = (operation: OperationObject) => operation.security?.flatMap((one) => Object.keys(one));
    expect(breaking(({ operation }) => schemes(operation)?.every((scheme) => known.includes(scheme)) === true)).toEqual([]);
    const open = operations.filter(({ operation }) => operation.security?.length === 0);
    expect(
      open.map(({ path: address }) => address).filter((address) => !/^\/((v1\/auth|health|webhooks)\/|v1\/plans$)/.test(address)),
    ).toEqual([]);
  });

  it('has an example for every body', () => {
    const hasExample = (content: ResponseObject['content'] = {}) =>
      Object.values(content).every(({ example, examples }) => (example ?? Object.values(examples ?? {})[0]) !== undefined);
    expect(breaking(({ operation: { requestBody } }) => hasExample(requestBody && resolve(requestBody).content))).toEqual([]);
    expect(breaking((one) => responsesOf(one).every(([, { content }]) => hasExample(content)))).toEqual([]);
  });

  it('describes every successful response', () => {
    const goesWell = (one: Operation) => responsesOf(one).filter(([status]) => /^[23]/.test(status));
    // Browsers are only redirected there after a failed sign-in.
    expect(breaking((one) => goesWell(one).length > 0)).toEqual(['GET /v1/auth/error']);
    const isWhole = ([status, { content, headers }]: [string, ResponseObject]) =>
      status === '204' || (status === '302' ? headers?.['Location'] : Object.values(content ?? {})[0]?.schema) !== undefined;
    expect(breaking((one) => goesWell(one).every(isWhole))).toEqual([]);
  });

  it('describes failures as problems, with an example for each code', () => {
    const failures = operations.flatMap((one) =>
      responsesOf(one)
        .filter(([status]) => !/^[23]/.test(status))
        .map(([status, response]) => ({ where: `${one.name} ${status}`, status, response })),
    );
    expect(failures.length).toBeGreaterThan(100);
    for (const { where, status, response } of failures) {
      const [type, media] = Object.entries(response.content ?? {})[0] ?? [];
      expect({ where, type, schema: media?.schema }).toEqual({
        where,
        type: 'application/problem+json',
        schema: expect.any(Object),
      });
      for (const schema of (media!.schema as SchemaObject).oneOf ?? [media!.schema!]) {
        const { properties = {} } = resolve(schema);
        expect({ where, names: Object.keys(properties) }).toEqual({
          where,
          names: expect.arrayContaining(['type', 'status', 'detail', 'code', 'requestId']),
        });
      }
      for (const [code, reference] of Object.entries(media?.examples ?? {})) {
        const value = (resolve(reference) as { value: { code: string; status: number } }).value;
        expect({ where, ...value }).toMatchObject({ where, code, status: status === 'default' ? 500 : Number(status) });
      }
    }
  });

  it('declares the failures that follow from the declaration of a route', () => {
    const answers = ({ operation }: Operation, ...statuses: string[]) => statuses.every((status) => status in operation.responses);
    const isLimited = ({ path: address }: Operation) => address.startsWith('/v1/');
    const needsSignIn = ({ operation }: Operation) =>
      operation.security?.some((one) => 'session' in one) && !operation.security.some((one) => Object.keys(one).length === 0);
    expect(breaking((one) => answers(one, '400', 'default'))).toEqual([]);
    expect(breaking((one) => !isLimited(one) || answers(one, '429', '503'))).toEqual([]);
    expect(breaking((one) => !needsSignIn(one) || answers(one, '401', '403'))).toEqual([]);
    expect(breaking((one) => one.operation.requestBody === undefined || answers(one, '413', '415'))).toEqual([]);
  });

  it('documents the headers that callers need', () => {
    const carries = (one: Operation, status: RegExp, ...names: string[]) =>
      responsesOf(one).every(([answer, { headers = {} }]) => !status.test(answer) || names.every((name) => name in headers));
    expect(breaking((one) => carries(one, /./, 'X-Request-Id'))).toEqual([]);
    expect(breaking((one) => carries(one, /429/, 'Retry-After', 'RateLimit', 'RateLimit-Policy'))).toEqual([]);
    expect(breaking((one) => carries(one, /503/, 'Retry-After'))).toEqual([]);
    expect(breaking((one) => !one.path.startsWith('/v1/') || carries(one, /^2/, 'RateLimit', 'RateLimit-Policy'))).toEqual([]);
    const signingIn = operations.filter((one) => responsesOf(one).some(([, { headers = {} }]) => 'set-auth-token' in headers));
    expect(signingIn.map(({ operation }) => operation.operationId)).toEqual(['signUp', 'signIn', 'signInWithProvider', 'changePassword']);
  });

  it('describes every parameter', () => {
    const isDescribed = (parameter: ParameterObject | ReferenceObject) => {
      const { description, schema } = resolve(parameter);
      return Boolean(description) && schema !== undefined && 'type' in schema;
    };
    expect(breaking(({ operation }) => operation.parameters?.every(isDescribed) === true)).toEqual([]);
    const ids = operations
      .flatMap(({ operation }) => (operation.parameters ?? []).map(resolve))
      .filter(({ name }) => name.endsWith('Id') && !['clerkUserId', 'targetId'].includes(name));
    expect(ids.length).toBeGreaterThan(0);
    expect(ids.filter(({ schema }) => (schema as SchemaObject).format !== 'uuid')).toEqual([]);
  });

  it('describes every schema and property in terms of OpenAPI 3.1', () => {
    const mistakes: string[] = [];
    for (const [name, schema] of Object.entries(document.components?.schemas ?? {}) as [string, SchemaObject][]) {
      if (!schema.description) mistakes.push(`${name} is not described`);
      for (const [property, part] of Object.entries(schema.properties ?? {}) as [string, SchemaObject & Partial<ReferenceObject>][]) {
        const where = `${name}.${property}`;
        const types = [part.type ?? []].flat();
        if (part.$ref === undefined && !part.description) mistakes.push(`${where} is not described`);
        if ('nullable' in part || 'example' in part) mistakes.push(`${where} uses nullable or example, which are of 3.0`);
        if (types.includes('number')) mistakes.push(`${where} is a number: it should say that it is an integer`);
        if (property.endsWith('At') && part.format !== 'date-time') mistakes.push(`${where} should be a date-time`);
        if (property === 'id' && part.format !== 'uuid') mistakes.push(`${where} should be a uuid`);
        if (
          name.endsWith('Request') &&
          types.includes('string') &&
          !part.enum &&
          !part.format &&
          !part.pattern &&
          part.maxLength === undefined
        )
          mistakes.push(`${where} has no maximum length`);
      }
    }
    expect(mistakes).toEqual([]);
  });
});

describe('a TypeScript client generated from the document', () => {
  const CONSUMER = `
    import type { operations, paths } from './client.js';

    type Answer<O extends keyof operations, S extends keyof operations[O]['responses']> =
      operations[O]['responses'][S] extends { content: { 'application/json': infer T } } ? T : never;
    type Body<O extends keyof operations> =
      NonNullable<operations[O]['requestBody']> extends { content: { 'application/json': infer T } } ? T : never;

    export const body: Body<'signUp'> = { name: 'Ada', email: 'ada@example.com', password: 'correct horse' };
    export const nameOf = (answer: Answer<'getMe', 200>): string => answer.name.toUpperCase();
    export const emailOf = (answer: Answer<'getMe', 200>): string | null => answer.email;
    export const cursorOf = (answer: Answer<'listSessions', 200>): string | null => answer.nextCursor;
    export const ids = (answer: Answer<'listUsers', 200>): string[] => answer.data.map(({ id }) => id);
    export const query: operations['listUsers']['parameters']['query'] = { limit: 10, search: 'ada' };
    export const codeOf = (
      failure: operations['getMe']['responses'][401]['content']['application/problem+json'],
    ): string => failure.code;
    export const address: keyof paths = '/v1/users/me';
  `;
  const WRONG = {
    'a field that is missing': `export const wrong: Body<'signUp'> = { name: 'Ada', email: 'ada@example.com' };`,
    'null taken for text': `export const wrong = (answer: Answer<'getMe', 200>): string => answer.email;`,
    'an address that does not exist': `export const wrong: keyof paths = '/v1/nothing';`,
  };

  let directory: string;
  let mistakes: Map<string, string[]>;
  beforeAll(async () => {
    directory = mkdtempSync(path.resolve('.client-'));
    const sources = new Map([['right', CONSUMER], ...Object.entries(WRONG).map(([why, line]) => [why, `${CONSUMER}\n${line}`] as const)]);
    const files = new Map([...sources.keys()].map((name, index) => [name, path.join(directory, `consumer-${index}.ts`)]));
    writeFileSync(path.join(directory, 'client.ts'), astToString(await openapiTypescript(readFileSync('openapi.json', 'utf8'))));
    for (const [name, source] of sources) writeFileSync(files.get(name)!, source);
    const program = ts.createProgram([...files.values()], {
      strict: true,
      noEmit: true,
      module: ts.ModuleKind.NodeNext,
      target: ts.ScriptTarget.ES2024,
      lib: ['lib.es2024.d.ts'],
      types: [],
    });
    const found = ts.getPreEmitDiagnostics(program);
    const of = (file: string) =>
      found.filter((one) => one.file?.fileName === file).map(({ messageText }) => ts.flattenDiagnosticMessageText(messageText, '\n'));
    mistakes = new Map([...files].map(([name, file]) => [name, of(file)]));
    mistakes.set(
      'anywhere',
      found.map(({ messageText }) => ts.flattenDiagnosticMessageText(messageText, '\n')),
    );
  });
  afterAll(() => rmSync(directory, { recursive: true, force: true }));

  it('type-checks where it is used correctly', () => {
    expect(mistakes.get('right')).toEqual([]);
    expect(mistakes.get('anywhere')).toHaveLength(Object.keys(WRONG).length);
  });

  it.each(Object.keys(WRONG))('does not type-check %s', (why) => {
    expect(mistakes.get(why)).toHaveLength(1);
  });
});

describe('the OpenAPI linter', () => {
  const lint = (file: string) =>
    spawnSync(process.execPath, ['node_modules/@redocly/cli/bin/cli.js', 'lint', file, '--format=json'], {
      encoding: 'utf8',
      env: { ...process.env, REDOCLY_SUPPRESS_UPDATE_NOTICE: 'true' },
    });

  it('reports nothing', () => {
    const { status, stdout } = lint('openapi.json');
    expect(JSON.parse(stdout)).toMatchObject({ totals: { errors: 0, warnings: 0, ignored: 0 } });
    expect(status).toBe(0);
  });

  it('reports an example that does not match its schema', () => {
    const broken = structuredClone(document);
    resolve(broken.paths['/v1/users/me']!.get!.responses['200']!).content!['application/json']!.example = { name: 7 };
    const directory = mkdtempSync(path.resolve('.lint-'));
    try {
      writeFileSync(path.join(directory, 'openapi.json'), JSON.stringify(broken));
      const { status, stdout } = lint(path.join(directory, 'openapi.json'));
      expect(stdout).toContain('no-invalid-media-type-examples');
      expect(status).toBe(1);
    } finally {
      rmSync(directory, { recursive: true, force: true });
    }
  });
});
