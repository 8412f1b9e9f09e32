import { existsSync, globSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { loadConfig } from '../src/platform/config/config.js';
import { configurationPage, environmentExample } from '../src/platform/config/documentation.js';
import type { Variable } from '../src/platform/config/variable.js';
import { VARIABLES } from '../src/platform/config/variables.js';
import { dialectIn, proseOf } from './support/architecture/language.js';

describe('the configuration', () => {
  const names = Object.values(VARIABLES).map(({ name }) => name);

  it('is described in docs/configuration.md and .env.example as in the code: npm run config:docs', () => {
    expect(readFileSync('docs/configuration.md', 'utf8')).toBe(configurationPage());
    expect(readFileSync('.env.example', 'utf8')).toBe(environmentExample());
  });

  it('has a row for every variable, and a line in the example', () => {
    const documented = [...configurationPage().matchAll(/^\| `([A-Z_]+)`/gm)].map(([, name]) => name!);
    const shown = [...environmentExample().matchAll(/^(?:# )?([A-Z_]+)=/gm)].map(([, name]) => name!);
    expect(documented.toSorted()).toEqual(names.toSorted());
    expect(shown).toEqual(documented);
  });

  it('accepts its own examples', () => {
    const examples = Object.values<Variable>(VARIABLES).flatMap(({ name, example }) => (example === undefined ? [] : [[name, example]]));
    const secrets = { AUTH_SECRET: 'x'.repeat(32), ENCRYPTION_KEYS: `k1:${Buffer.alloc(32).toString('base64')}` };
    const meters = { POLAR_ACCESS_TOKEN: 'token', DODO_PAYMENTS_API_KEY: 'key' };
    expect(() => loadConfig({ ...Object.fromEntries(examples), ...secrets, ...meters })).not.toThrow();
  });
});

describe('the docs', () => {
  const documents = ['README.md', 'CONTRIBUTING.md', 'CHANGELOG.md', 'SECURITY.md', ...globSync('{docs,src}/**/*.md')];
  const decisions = globSync('docs/decisions/[0-9]*.md');

  /** The anchors of a page, as GitHub makes them of its headings. */
  const anchorsOf = (at: string) =>
    [...readFileSync(at, 'utf8').matchAll(/^#+ (.+)$/gm)].map(([, heading]) =>
      heading!
        .toLowerCase()
        .replace(/[^\w\s-]/g, '')
        .replace(/\s/g, '-'),
    );

  it('link only to pages and headings that are there', () => {
    const broken = documents.flatMap((at) =>
      [...readFileSync(at, 'utf8').matchAll(/\]\((?!https?:)([^)#\s]*)(?:#([^)\s]+))?\)/g)].flatMap(([link, target, anchor]) => {
        const page = target === '' ? at : path.join(path.dirname(at), target!);
        return existsSync(page) && (anchor === undefined || anchorsOf(page).includes(anchor)) ? [] : [`${at}: ${link}`];
      }),
    );
    expect(broken).toEqual([]);
  });

  it('show the product in a README of at most 10 KB', () => {
    expect(Buffer.byteLength(readFileSync('README.md'))).toBeLessThanOrEqual(10_240);
  });

  it('name only files and scripts that are there', () => {
    const { scripts } = JSON.parse(readFileSync('package.json', 'utf8')) as { scripts: Record<string, string> };
    const fileNames = new Set(globSync('{.,{src,test,bench,examples}/**}/*.{ts,mjs}').map((file) => path.basename(file)));
    const wrong = documents.flatMap((at) => {
      const content = readFileSync(at, 'utf8');
      const files = [...content.matchAll(/`((?:src|test|drizzle|bench|\.ci)\/[\w./-]+\.\w+|[\w-]+(?:\.\w+)?\.(?:ts|mjs))`/g)]
        .map(([, file]) => file!)
        .filter((file) => (file.includes('/') ? !existsSync(file) : !fileNames.has(file)));
      const runs = [...content.matchAll(/npm run ([\w:-]+)/g)].map(([, script]) => script!).filter((script) => !(script in scripts));
      return [...files, ...runs].map((what) => `${at}: ${what}`);
    });
    expect(wrong).toEqual([]);
  });

  it('name only operations, variables and metrics that are there', () => {
    const { paths } = JSON.parse(readFileSync('openapi.json', 'utf8')) as { paths: Record<string, Record<string, unknown>> };
    const operations = Object.entries(paths).flatMap(([at, methods]) =>
      Object.keys(methods).map((method) => `${method.toUpperCase()} ${at}`),
    );
    const patterns = operations.map((operation) => new RegExp(`^${operation.replace(/\{\w+\}/g, '[^/]+')}$`));
    // `GET …/audit-log` stands for the route under either prefix.
    const isOperation = (text: string) => {
      const [start, end] = text.split('…') as [string, string?];
      if (end === undefined) return patterns.some((pattern) => pattern.test(text));
      return operations.some((operation) => operation.startsWith(start) && operation.endsWith(end));
    };
    const code = globSync('src/**/*.ts')
      .map((at) => readFileSync(at, 'utf8'))
      .join('\n');
    const variables = Object.values(VARIABLES).map(({ name }) => name as string);
    const named = ['README.md', 'SECURITY.md', ...globSync('docs/*.md')].flatMap((at) => {
      const text = readFileSync(at, 'utf8');
      const known = (pattern: RegExp, isKnown: (name: string) => boolean) =>
        [...text.matchAll(pattern)].map(([, name]) => ({ at, name: name!, isKnown: isKnown(name!) }));
      return [
        ...known(/`((?:GET|POST|PUT|PATCH|DELETE) [/…][^\s`?]*)/g, isOperation),
        ...known(/`([A-Z]+(?:_[A-Z]+)+)`/g, (name) => variables.includes(name)),
        ...known(/`(tenantry_[a-z]+_[a-z_]+)/g, (name) => code.includes(`'${name}'`)),
      ];
    });
    expect(named.length).toBeGreaterThan(150);
    expect(named.filter(({ isKnown }) => !isKnown)).toEqual([]);
  });

  it('name only tests that are there, in the tables about security', () => {
    const names = [...readFileSync('docs/security.md', 'utf8').matchAll(/`([\w-]+)\.(e2e|proof)`/g)];
    expect(names.length).toBeGreaterThan(50);
    const tests = globSync('test/**/*-spec.ts').map((file) => path.basename(file));
    const missing = names.map(([, name, kind]) => `${name}.${kind}-spec.ts`).filter((file) => !tests.includes(file));
    expect([...new Set(missing)]).toEqual([]);
  });

  it('are in plain English', () => {
    const found = documents.flatMap((at) => dialectIn(proseOf(readFileSync(at, 'utf8'))).map((phrase) => `${at}: ${phrase}`));
    expect(found).toEqual([]);
  });

  it('include an API document in plain English', () => {
    const sentences = new Set<string>();
    JSON.parse(readFileSync('openapi.json', 'utf8'), (key, value: unknown) => {
      if ((key === 'description' || key === 'summary') && typeof value === 'string') sentences.add(value);
      return value;
    });
    expect(sentences.size).toBeGreaterThan(500);
    const found = [...sentences].flatMap((text) => dialectIn(proseOf(text)).map((phrase) => `"${phrase}" in: ${text}`));
    expect(found).toEqual([]);
  });

  it('number the decisions from 0001 without a gap', () => {
    const numbers = decisions.map((at) => Number(/\/(\d{4})-[a-z0-9-]+\.md$/.exec(at)?.[1])).toSorted((a, b) => a - b);
    expect(numbers.length).toBeGreaterThan(5);
    expect(numbers).toEqual(numbers.map((_, index) => index + 1));
  });

  it('list every decision by its title', () => {
    const listed = readFileSync('docs/decisions/README.md', 'utf8').match(/^- .*$/gm)!;
    const lines = decisions.map((at) => {
      const name = path.basename(at);
      return `- [${name.slice(0, 4)}](${name}) ${/^# \d{4} (.*)$/m.exec(readFileSync(at, 'utf8'))![1]}`;
    });
    expect(listed.toSorted()).toEqual(lines.toSorted());
  });

  it('have every decision and page that a comment names', () => {
    const named = globSync('{src,test,bench}/**/*.{ts,mjs}').flatMap((at) =>
      [...readFileSync(at, 'utf8').matchAll(/\bdocs\/([\w-]+\.md)|\b(?:decisions\/|decision )(\d{4})/g)].map(([, page, number]) => ({
        at,
        name: page ?? `decisions/${number}-`,
      })),
    );
    expect(named.length).toBeGreaterThan(20);
    const pages = globSync('**/*.md', { cwd: 'docs' });
    expect(named.filter(({ name }) => !pages.some((page) => page.startsWith(name)))).toEqual([]);
  });

  it('state each decision in at most forty lines: its gist in one sentence, its reasons, and the test that holds it', () => {
    const wrong = decisions.flatMap((at) => {
      const content = readFileSync(at, 'utf8');
      const [title, , gist] = content.split('\n') as [string, string, string];
      const checks = {
        title: title.startsWith(`# ${/\d{4}/.exec(at)![0]} `),
        gist: /^[A-Z`](?:(?!\. [A-Z]).)+\.$/.test(gist),
        length: content.trimEnd().split('\n').length <= 40,
        parts: ['Context', 'Decision', 'Consequence', 'Held by'].every((part) => content.includes(`\n**${part}.**`)),
      };
      return Object.entries(checks).flatMap(([check, isMet]) => (isMet ? [] : [`${at}: ${check}`]));
    });
    expect(wrong).toEqual([]);
  });

  it('give the license of package.json', () => {
    const { license, private: isPrivate } = JSON.parse(readFileSync('package.json', 'utf8')) as { license: string; private: boolean };
    expect({ license, isPrivate }).toEqual({ license: 'UNLICENSED', isPrivate: true });
    expect(readFileSync('LICENSE', 'utf8')).toContain('UNLICENSED');
  });
});

describe('the language check', () => {
  it('finds a phrase in any case and across a line break of a comment', () => {
    expect(dialectIn('/** Whoever asks is told\n * what\n * is true. */')).toEqual(['Whoever', 'is told', 'what is']);
    expect(dialectIn("// Nobody's, thereof,\n// it brings\n// about that which is none of it")).toHaveLength(5);
  });

  it('leaves plain English, code and link targets alone', () => {
    expect(dialectIn('Returns no more than 100 rows. Clients are told apart by address.')).toEqual([]);
    expect(dialectIn(proseOf('See [roles](whose.md) and `whose`.\n```sh\nwhoever\n```\n'))).toEqual([]);
  });
});
