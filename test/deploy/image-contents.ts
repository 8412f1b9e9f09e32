import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import path from 'node:path';

/** A file of the image, by its path in `/app`. */
interface Entry {
  file: string;
  bytes: number;
}

interface Lock {
  packages: Record<string, { dev?: boolean; optional?: boolean; devOptional?: boolean }>;
}

export function stagesOf(dockerfile: string): string[] {
  return dockerfile.split(/^(?=FROM )/m).slice(1);
}

/** What the last stage copies, read from this folder: no container engine is needed. Throws for a COPY that it does not know. */
export function listImage(dockerfile: string): Entry[] {
  const copies =
    stagesOf(dockerfile)
      .at(-1)!
      .match(/^(COPY|ADD) .*$/gm) ?? [];
  return copies.flatMap((line) => {
    if (line === 'COPY --from=dependencies /app/node_modules node_modules') return productionPackages().flatMap(filesOfPackage);
    if (line === 'COPY --from=build /app/dist dist') return filesIn('dist');
    const [, ...given] = line.split(' ');
    if (!line.startsWith('COPY ') || given.some((part) => part.startsWith('-')))
      throw new Error(`The image copies something unknown: ${line}`);
    return given.slice(0, -1).flatMap(filesIn);
  });
}

/** Files that no image may hold: sources, tests, secrets, development dependencies, an embedded server. */
export function forbiddenIn(entries: Entry[]): string[] {
  const packages = new Set(productionPackages());
  const isAllowed = (file: string): boolean => {
    if (file.startsWith('node_modules/')) return packages.has(packageOf(file));
    return ALLOWED.some((pattern) => pattern.test(file)) && !/\.spec\./.test(file);
  };
  return entries.map(({ file }) => file).filter((file) => !isAllowed(file));
}

const ALLOWED = [/^dist\/.*\.(js|js\.map)$/, /^drizzle\/\d{4}_\w+\.sql$/, /^drizzle\/meta\/\w+\.json$/, /^package\.json$/, /^plans\.json$/];

/** The folders that `npm ci --omit=dev --omit=optional` installs. */
function productionPackages(): string[] {
  const { packages } = JSON.parse(readFileSync('package-lock.json', 'utf8')) as Lock;
  return Object.entries(packages).flatMap(([at, { dev, optional, devOptional }]) =>
    at === '' || dev === true || optional === true || devOptional === true ? [] : [at],
  );
}

/** Packages hold packages; a folder of that name deeper inside of one is its own. */
function packageOf(file: string): string {
  return /^node_modules\/(?:@[^/]+\/)?[^/]+(?:\/node_modules\/(?:@[^/]+\/)?[^/]+)*/.exec(file)![0];
}

function filesOfPackage(at: string): Entry[] {
  return readdirSync(at).flatMap((name) => (name === 'node_modules' ? [] : filesIn(path.join(at, name))));
}

function filesIn(at: string): Entry[] {
  if (!existsSync(at)) throw new Error(`${at} does not exist: run npm ci and npm run build first`);
  const { size } = statSync(at);
  if (!statSync(at).isDirectory()) return [{ file: at, bytes: size }];
  return readdirSync(at).flatMap((name) => filesIn(path.join(at, name)));
}
