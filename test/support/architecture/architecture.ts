import { globSync, readFileSync } from 'node:fs';
import path from 'node:path';

/** A source file: its path below `src/` and its text. */
export interface Source {
  path: string;
  text: string;
}

/** Returns a description of every violation. */
export type Rule = (sources: Source[]) => string[];

export function readSources(): Source[] {
  return globSync('src/**/*.ts')
    .filter((file) => !file.endsWith('.spec.ts'))
    .map((file) => ({ path: path.relative('src', file), text: readFileSync(file, 'utf8') }));
}

/** The files of the tests, benchmarks and examples, with paths below the root. */
export function readTests(): Source[] {
  return globSync(['{test,bench,examples}/**/*.{ts,mjs}', 'src/**/*.spec.ts']).map((file) => ({
    path: file,
    text: readFileSync(file, 'utf8'),
  }));
}

/** Folders that every module may import, and the folders that they may import. */
const LEAVES: Record<string, string[]> = {
  platform: [],
  owners: ['platform'],
  sync: ['platform', 'owners'],
  access: ['platform', 'owners', 'sync', 'jobs'],
  plans: ['platform', 'owners', 'access'],
};

/** The roles that other modules may import. */
const PUBLIC_ROLES = ['module', 'service', 'table', 'dto', 'errors', 'port', 'decorators'];

/** Packages that reach outside the process, or that we may replace: one folder each. */
const SDK_HOMES: Record<string, string> = {
  '@opentelemetry': 'platform/tracing',
  '@polar-sh/sdk': 'providers/polar',
  'better-auth': 'auth',
  dodopayments: 'providers/dodo',
  jose: 'access/credentials',
  nodemailer: 'mail',
  pg: 'platform/database',
  'drizzle-orm/node-postgres': 'platform/database',
};

const SERVICE_LINES = 300;

/** The source files that a file imports, types included, as paths below `src/`. */
function importsOf({ path: file, text }: Source): string[] {
  return specifiersOf(text)
    .filter((specifier) => specifier.startsWith('.'))
    .map((specifier) => path.join(path.dirname(file), specifier).replace(/\.js$/, '.ts'));
}

function specifiersOf(text: string): string[] {
  return [...text.matchAll(/(?:\bfrom|\bimport)\s*\(?\s*'([^']+)'/g)].map(([, specifier]) => specifier!);
}

/** `users` of `users/users.service.ts`; empty for the top-level files, which assemble the application. */
function folderOf(file: string): string {
  return file.includes('/') ? file.split('/', 1)[0]! : '';
}

function roleOf(file: string): string | undefined {
  return /\.([a-z]+)\.ts$/.exec(file)?.[1];
}

/** Imports from another folder. */
function crossings(sources: Source[]): { from: string; to: string }[] {
  return sources.flatMap((source) =>
    importsOf(source)
      .filter((to) => folderOf(to) !== folderOf(source.path) && folderOf(to) !== '')
      .map((to) => ({ from: source.path, to })),
  );
}

/** Every match of a pattern in files that must not contain it. */
function forbid(pattern: RegExp, mayHave: (file: string) => boolean): Rule {
  return (sources) =>
    sources
      .filter(({ path: file }) => !mayHave(file))
      .flatMap(({ path: file, text }) =>
        text.split('\n').flatMap((line, index) => (pattern.test(line) ? [`${file}:${index + 1}: ${line.trim()}`] : [])),
      );
}

const nowhere = () => false;

export const noImportCycles: Rule = (sources) => {
  const graph = new Map(sources.map((source) => [source.path, importsOf(source)]));
  const done = new Set<string>();
  const cycles: string[] = [];
  const visit = (file: string, trail: string[]): void => {
    if (trail.includes(file)) cycles.push([...trail.slice(trail.indexOf(file)), file].join(' → '));
    if (done.has(file) || trail.includes(file)) return;
    for (const next of graph.get(file) ?? []) visit(next, [...trail, file]);
    done.add(file);
  };
  for (const file of graph.keys()) visit(file, []);
  return cycles;
};

/** Public are the module's public roles, and plain-named files with a class in the module's `exports`. */
export const privateFilesStayPrivate: Rule = (sources) => {
  const texts = new Map(sources.map(({ path: file, text }) => [file, text]));
  const isPublic = (file: string) => {
    const role = roleOf(file);
    if (role !== undefined) return PUBLIC_ROLES.includes(role) || (folderOf(file) in LEAVES && role !== 'repository');
    if (folderOf(file) in LEAVES) return true;
    const modules = sources.filter((source) => folderOf(source.path) === folderOf(file) && roleOf(source.path) === 'module');
    const exported = modules.flatMap(({ text }) => /exports: \[([^\]]*)\]/.exec(text)?.[1]?.split(/[,\s]+/) ?? []);
    const classes = [...(texts.get(file) ?? '').matchAll(/export (?:abstract )?class (\w+)/g)].map(([, name]) => name!);
    return classes.some((name) => exported.includes(name));
  };
  return crossings(sources)
    .filter(({ from, to }) => !['main.ts', 'server.ts'].includes(from) && !isPublic(to))
    .map(({ from, to }) => `${from} imports ${to}`);
};

export const leavesKnowNoModule: Rule = (sources) =>
  crossings(sources)
    .filter(({ from, to }) => {
      const allowed = LEAVES[folderOf(from)];
      if (allowed === undefined || allowed.includes(folderOf(to))) return false;
      return !(folderOf(from) === 'access' && roleOf(to) === 'table');
    })
    .map(({ from, to }) => `${from} imports ${to}`);

export const environmentHasOneReader: Rule = forbid(
  /process\.env|process\['env'\]|loadEnvFile|\benv\b.*from 'node:process'/,
  (file) => file === 'platform/config/config.ts',
);

/** The clock is injected, and pure code takes `now` as a parameter: a test can then set the time. */
export const clockHasOneReader: Rule = forbid(/^(?!\s*(\/?\*|\/\/)).*(Date\.now\(|new Date\(\))/, (file) =>
  file.startsWith('platform/time/'),
);

export const sdksHaveOneHome: Rule = (sources) =>
  sources.flatMap(({ path: file, text }) =>
    specifiersOf(text).flatMap((specifier) => {
      const sdk = Object.keys(SDK_HOMES).find((name) => specifier === name || specifier.startsWith(`${name}/`));
      return sdk === undefined || file.startsWith(`${SDK_HOMES[sdk]}/`) ? [] : [`${file} imports ${specifier}`];
    }),
  );

/** Use `isOneOf`, which binds one array: a list that grows with data would have too many parameters one day. */
export const parametersDoNotGrow: Rule = (sources) =>
  sources.flatMap(({ path: file, text }) =>
    [...text.matchAll(/\b(?:inArray|notInArray)\b(?=[^;]*from 'drizzle-orm')/g)].map(([found]) => `${file} imports ${found}`),
  );

export const noCatchAllFolders: Rule = (sources) =>
  sources
    .map(({ path: file }) => file)
    .filter((file) => /(^|\/)(utils?|helpers?|shared|misc|lib|common)(\/|\.ts$)|(^|\/)index\.ts$/.test(file));

export const filesAreNamedAfterTheirFolder: Rule = (sources) =>
  sources
    .map(({ path: file }) => file)
    .filter((file) => {
      const role = roleOf(file);
      const named = role !== undefined && ['controller', 'repository', 'dto', 'errors'].includes(role);
      // platform/ is not a module: its few roles are named after their job.
      if (!named || folderOf(file) === 'platform') return false;
      return ![path.basename(path.dirname(file)), folderOf(file)].some((folder) => path.basename(file).endsWith(`${folder}.${role}.ts`));
    });

export const noForwardReferences: Rule = forbid(/\bforwardRef\b|Scope\.REQUEST/, nowhere);

export const keysetPagesOnly: Rule = forbid(/\.offset\(|\bOFFSET \$?\{?\d|(?<!')\bdb\.query\./, nowhere);

export const tablesStandInTableFiles: Rule = forbid(/\bpgTable\(/, (file) => roleOf(file) === 'table');

/** A type import is erased at run time, and with it the validation. */
export const controllersImportDtosAsValues: Rule = (sources) =>
  sources
    .filter(({ path: file }) => roleOf(file) === 'controller')
    .flatMap(({ path: file, text }) =>
      [...text.matchAll(/import (type )?\{([^}]*)\} from '[^']*\.dto\.js'/g)].flatMap(([statement, whole, names]) =>
        whole !== undefined || /\btype /.test(names!) ? [`${file}: ${statement}`] : [],
      ),
    );

export const repositoriesStandBelowServices: Rule = (sources) =>
  sources.flatMap((source) =>
    roleOf(source.path) === 'controller'
      ? importsOf(source).flatMap((to) => (roleOf(to) === 'repository' ? [`${source.path} imports ${to}`] : []))
      : [],
  );

export const servicesAreShort: Rule = (sources) =>
  sources.flatMap(({ path: file, text }) => {
    const lines = text.trimEnd().split('\n').length;
    return roleOf(file) === 'service' && lines > SERVICE_LINES ? [`${file} has ${lines} lines`] : [];
  });

/** Services name a field; the HTTP layer says where the request has it. */
export const servicesKnowNoRequest: Rule = (sources) =>
  forbid(
    /['"`](?:body|query|params)\./,
    () => false,
  )(sources.filter(({ path: file }) => roleOf(file) === 'service' && folderOf(file) !== 'platform'));
