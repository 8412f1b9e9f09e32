/** Writes a module after `examples/projects`: `npm run new -- invoices [--singular invoice]`. */
import { spawnSync } from 'node:child_process';
import { existsSync, globSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { parseArgs } from 'node:util';

const EXAMPLE = 'examples/projects';
const APP_MODULE = 'src/app.module.ts';
const RESERVED =
  'arguments await break case catch class const continue debugger default delete do else enum eval export extends false finally for function if ' +
  'implements import in instanceof interface let new null package private protected public return static super switch this throw true try ' +
  'typeof undefined var void while with yield';

const { positionals, values } = parseArgs({ allowPositionals: true, options: { singular: { type: 'string' } } });
const [plural = ''] = positionals;
const singular = values.singular ?? singularOf(plural);

if (positionals.length !== 1 || ![plural, singular].every((noun) => /^[a-z]+$/.test(noun)) || plural === singular) {
  fail('Name the module with one plural noun in lower case: npm run new -- invoices [--singular invoice]');
}
if (RESERVED.split(' ').some((word) => word === plural || word === singular)) {
  fail(`"${plural}" or "${singular}" is a reserved word of TypeScript. Choose another noun.`);
}
if (existsSync(`src/${plural}`)) fail(`src/${plural} exists already.`);

process.stdout.write(`The singular of ${plural} is ${singular}. If that is wrong: --singular\n`);
const written = globSync(`${EXAMPLE}/**/*.ts`).map(writeCopy);
register();
run('Formatting', 'prettier', '--write', ...written, APP_MODULE);
run('Writing the migration', 'drizzle-kit', 'generate', '--name', `add_${plural}`);
run('Writing openapi.json', 'npm', 'run', '--silent', 'openapi');
run('Writing its contract', 'npm', 'run', '--silent', 'openapi:contract');

process.stdout.write(`
${[...written, APP_MODULE].map((file) => `  ${file}`).join('\n')}

The migration is in drizzle/, and openapi.json has the new routes. Next: npm test -- ${plural} access audit
`);

/** Files of the example's `test/` belong to `test/<module>/`, all others to `src/<module>/`. */
function writeCopy(file: string): string {
  const isTest = path.dirname(file) === `${EXAMPLE}/test`;
  const text = readFileSync(file, 'utf8');
  const moved = isTest
    ? text
        .replaceAll('../../../test/', '../')
        .replaceAll('../../../src/', '../../src/')
        .replaceAll("'../projects", "'../../src/projects/projects")
    : text.replaceAll('../../src/', '../');
  const target = renamed(`${isTest ? 'test' : 'src'}/projects/${path.basename(file)}`);
  mkdirSync(path.dirname(target), { recursive: true });
  writeFileSync(target, renamed(moved));
  return target;
}

function renamed(text: string): string {
  return text
    .replaceAll(/\ba (?=project\b)/g, /^(?!uni|us|eu)[aeiou]/.test(singular) ? 'an ' : 'a ')
    .replaceAll('projects', plural)
    .replaceAll('project', singular)
    .replaceAll('Projects', capitalized(plural))
    .replaceAll('Project', capitalized(singular));
}

/** The one edit of a file that is there already. */
function register(): void {
  const name = `${capitalized(plural)}Module`;
  const text = readFileSync(APP_MODULE, 'utf8');
  const withImport = text.replace('\n\n@Module', `\nimport { ${name} } from './${plural}/${plural}.module.js';\n\n@Module`);
  const edited = withImport.replace(/^( +)JobsModule,$/m, `$1${name},\n$&`);
  if (edited === withImport || withImport === text) fail(`${APP_MODULE} has changed: add ${name} to it by hand.`);
  writeFileSync(APP_MODULE, edited);
}

function singularOf(noun: string): string {
  return noun.replace(/ies$|(ss|x|ch|sh)es$|s$/, (ending, stem?: string) => (ending === 'ies' ? 'y' : (stem ?? '')));
}

function capitalized(noun: string): string {
  return noun.charAt(0).toUpperCase() + noun.slice(1);
}

function run(step: string, command: string, ...args: string[]): void {
  process.stdout.write(`${step}: ${command}\n`);
  const { status, stdout, stderr, error } = spawnSync(command, args, { stdio: ['ignore', 'pipe', 'pipe'], encoding: 'utf8' });
  if (status !== 0) fail(`${stdout ?? ''}${stderr ?? ''}${error?.message ?? ''}\n${step} failed: ${command} ${args.join(' ')}`);
}

function fail(reason: string): never {
  process.stderr.write(`${reason}\n`);
  process.exit(2);
}
