import { globSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { Controller, Get, Module } from '@nestjs/common';
import { NestFactory, Reflector } from '@nestjs/core';
import { getTableName, is } from 'drizzle-orm';
import { getTableConfig, integer, index, PgTable, pgTable, primaryKey, PgTimestamp, text, timestamp, uuid } from 'drizzle-orm/pg-core';
import { ACCESS, Public } from '../src/access/access.decorators.js';
import { loadConfig } from '../src/platform/config/config.js';
import { type Route, routesOf } from '../src/platform/openapi/routes.js';
import { createApp } from '../src/create-app.js';
import drizzleConfig from '../drizzle.config.js';
import { testEnvironment } from './support/app.js';
import * as architecture from './support/architecture/architecture.js';
import * as readability from './support/architecture/readability.js';

const { readSources, readTests, ...structure } = architecture;
const { commentShare, foldersExplainThemselves, titlesArePlainEnglish, ...reading } = readability;
const rules = { ...structure, ...reading };

type RuleName = keyof typeof rules;

const file = (at: string, content: string): architecture.Source => ({ path: at, text: content });

/** Each rule with small trees that break it: a rule that cannot fail holds nothing. */
const BROKEN: Record<RuleName, architecture.Source[][]> = {
  noImportCycles: [
    [
      file('a/a.service.ts', "import { B } from '../b/b.service.js';"),
      file('b/b.service.ts', "import type { A } from '../a/a.service.js';"),
    ],
  ],
  privateFilesStayPrivate: [
    [file('a/a.service.ts', "import { B } from '../b/b.repository.js';"), file('b/b.repository.ts', 'export class B {}')],
    [file('a/a.service.ts', "import { B } from '../access/access.repository.js';")],
    [
      file('a/a.service.ts', "import { Inner } from '../b/inner.js';"),
      file('b/inner.ts', 'export class Inner {}'),
      file('b/b.module.ts', '@Module({ providers: [Inner], exports: [BService] })'),
    ],
  ],
  leavesKnowNoModule: [
    [file('platform/openapi/operations.ts', "import { ACCESS } from '../../access/access.decorators.js';")],
    [file('platform/pagination/cursors.service.ts', "import { users } from '../../users/users.table.js';")],
    [file('access/access.guard.ts', "import { UsersService } from '../users/users.service.js';")],
    [file('platform/database/database.ts', "import { OWNER_KINDS } from '../../owners/owner.js';")],
  ],
  environmentHasOneReader: [
    [file('a/a.service.ts', "const port = process.env['PORT'];")],
    [file('a/a.service.ts', "import { env } from 'node:process';")],
  ],
  clockHasOneReader: [
    [file('a/a.service.ts', 'const expiresAt = new Date(Date.now() + 1000);')],
    [file('a/a.service.ts', 'return { deletedAt: new Date() };')],
  ],
  sdksHaveOneHome: [
    [file('users/users.service.ts', "import { APIError } from 'better-auth/api';")],
    [file('jobs/jobs.service.ts', "import pg from 'pg';")],
  ],
  parametersDoNotGrow: [
    [file('a/a.repository.ts', "import { inArray } from 'drizzle-orm';")],
    [file('a/a.repository.ts', "import { and, notInArray, sql } from 'drizzle-orm';")],
  ],
  noCatchAllFolders: [
    [file('users/utils/text.ts', '')],
    [file('shared/text.ts', '')],
    [file('platform/common/text.ts', '')],
    [file('users/index.ts', '')],
    [file('users/helpers.ts', '')],
  ],
  filesAreNamedAfterTheirFolder: [[file('users/people.repository.ts', '')]],
  noForwardReferences: [
    [file('a/a.module.ts', 'imports: [forwardRef(() => B)]')],
    [file('a/a.service.ts', '@Injectable({ scope: Scope.REQUEST })')],
  ],
  keysetPagesOnly: [[file('a/a.repository.ts', '.limit(10).offset(20)')], [file('a/a.repository.ts', 'this.db.query.users.findMany()')]],
  tablesStandInTableFiles: [[file('a/a.repository.ts', "const as = pgTable('as', {});")]],
  controllersImportDtosAsValues: [
    [file('a/a.controller.ts', "import type { CreateRequest } from './a.dto.js';")],
    [file('a/a.controller.ts', "import {\n  type CreateRequest,\n  Answer,\n} from './a.dto.js';")],
  ],
  repositoriesStandBelowServices: [[file('a/a.controller.ts', "import { ARepository } from './a.repository.js';")]],
  servicesAreShort: [[file('a/a.service.ts', 'line\n'.repeat(301))]],
  servicesKnowNoRequest: [[file('a/a.service.ts', "throw new InvalidRequest({ errors: [{ path: 'body.slug' }] });")]],
  filesAreShort: [[file('a/a.ts', 'line\n'.repeat(421))]],
  functionsAreShort: [
    [file('a/a.ts', `function a() {\n${'b();\n'.repeat(59)}}`)],
    [file('a/a.ts', `class A {\n  a = () => {\n${'b();\n'.repeat(59)}};\n}`)],
  ],
  foldersAreSmall: [[...'abcdefghijklm'].map((name) => file(`a/${name}.ts`, ''))],
  foldersAreShallow: [[file('a/b/c/d.ts', '')], [file('platform/a/b/c/d.ts', '')]],
  injectablesHaveARole: [[file('a/a.ts', '@Injectable()\nexport class A {}')], [file('a/a.errors.ts', '@Catch(A)\nexport class A {}')]],
  exportedNamesExistOnce: [[file('a/a.ts', 'export class A {}'), file('b/b.ts', 'export const A = 1, B = 2;')]],
  commentsArePlainEnglish: [
    [file('a/a.ts', '/** Whoever asks. */\nexport const A = 1;')],
    [file('a/a.ts', 'export const A = [\n  1, // What is told\n];')],
  ],
};

const sentence = (name: string) => name.replaceAll(/[A-Z]/g, (letter) => ` ${letter.toLowerCase()}`);

describe('the sources', () => {
  const sources = readSources();

  it('are found', () => {
    expect(sources.length).toBeGreaterThan(60);
    expect(sources.map((source) => source.path)).toContain('users/users.service.ts');
  });

  for (const name of Object.keys(BROKEN) as RuleName[]) {
    it(`keep the rule: ${sentence(name)}`, () => {
      expect(rules[name](sources)).toEqual([]);
    });

    it(`would be caught breaking it: ${sentence(name)}`, () => {
      for (const broken of BROKEN[name]) expect(rules[name](broken)).not.toEqual([]);
    });
  }
});

describe('the tests', () => {
  const tests = readTests();

  it('have comments in plain English', () => {
    expect(tests.length).toBeGreaterThan(250);
    expect(readability.commentsArePlainEnglish(tests)).toEqual([]);
  });

  it('have titles in plain English', () => {
    expect(titlesArePlainEnglish(tests)).toEqual([]);
  });

  it('would be caught with a title that must be decoded', () => {
    for (const call of ["describe('Whoever asks'", "it('whoever asks'", "it.each([1])('%i, whoever asks'", 'it(`${a}, whoever asks`'])
      expect(titlesArePlainEnglish([file('a.spec.ts', `${call}, () => {});`)])).toEqual([
        expect.stringMatching(/^a\.spec\.ts:1: "whoever"$/i),
      ]);
    expect(titlesArePlainEnglish([file('a.spec.ts', "it('asks for it', () => whoever('whoever'));")])).toEqual([]);
  });
});

describe('the comments', () => {
  it('are at most 8 % of the lines', () => {
    expect(commentShare([file('a/a.ts', '/** One. */\nconst a = 1;\n// Two.\nconst b = 2;')])).toBe(0.5);
    expect(commentShare(readSources())).toBeLessThanOrEqual(0.08);
  });
});

describe('the folders', () => {
  it('with sub-folders explain themselves in at most 60 lines', () => {
    const readmes = new Map(globSync('src/**/README.md').map((at) => [path.relative('src', path.dirname(at)), readFileSync(at, 'utf8')]));
    expect(foldersExplainThemselves(readSources(), readmes)).toEqual([]);
  });

  it('would be caught without a README, and with a long one', () => {
    const sources = [file('a/b/c.ts', '')];
    expect(foldersExplainThemselves(sources, new Map())).not.toEqual([]);
    expect(foldersExplainThemselves(sources, new Map([['a', 'line\n'.repeat(61)]]))).not.toEqual([]);
    expect(foldersExplainThemselves(sources, new Map([['a', 'What a is.']]))).toEqual([]);
  });
});

describe('the routes', () => {
  const undeclared = (routes: Map<string, Route>) =>
    [...routes].filter(([, { handler, controller }]) => {
      const targets = [handler, controller] as Parameters<Reflector['getAllAndOverride']>[1];
      return new Reflector().getAllAndOverride(ACCESS, targets) === undefined;
    });

  const routesOfControllers = async (...controllers: (new () => object)[]) => {
    class Some {}
    Module({ controllers })(Some);
    const app = await NestFactory.createApplicationContext(Some, { logger: false, abortOnError: false });
    try {
      return routesOf(app);
    } finally {
      await app.close();
    }
  };

  @Controller('first')
  class First {
    @Get()
    @Public()
    getThing(): void {}
  }

  @Controller('second')
  class Second {
    @Get()
    getThing(): void {}
  }

  it('all declare who may call them', async () => {
    const app = await createApp(loadConfig(testEnvironment('postgres://localhost/none')));
    try {
      const routes = routesOf(app);
      expect(routes.size).toBeGreaterThan(30);
      expect(undeclared(routes).map(([name]) => name)).toEqual([]);
    } finally {
      await app.close();
    }
  });

  it('would be caught declaring nothing', async () => {
    expect(undeclared(await routesOfControllers(First))).toEqual([]);
    expect(undeclared(await routesOfControllers(Second)).map(([name]) => name)).toEqual(['getThing']);
  });

  it('would be caught sharing a name, which is the operationId', async () => {
    await expect(routesOfControllers(First, Second)).rejects.toThrow('Two routes are called getThing, in First and Second.');
  });
});

describe('the tables', () => {
  const files = globSync('src/**/*.table.ts');
  let tables: PgTable[];
  beforeAll(async () => {
    const modules = await Promise.all(
      files.map(async (at) => (await import(`../${at.replace(/\.ts$/, '.js')}`)) as Record<string, unknown>),
    );
    tables = modules.flatMap((exported) => Object.values(exported)).filter((value): value is PgTable => is(value, PgTable));
  });

  /** Whether no index, unique constraint or primary key starts with an owner column of the table. */
  const lacksOwnerIndex = (table: PgTable): boolean => {
    const { columns, indexes, uniqueConstraints, primaryKeys } = getTableConfig(table);
    const owners = columns.map(({ name }) => name).filter((name) => name === 'organization_id' || name === 'owner_id');
    const firsts = [
      ...indexes.map(({ config }) => config.columns[0]),
      ...uniqueConstraints.map((constraint) => constraint.columns[0]),
      ...primaryKeys.map((key) => key.columns[0]),
      ...columns.filter(({ isUnique, primary }) => isUnique || primary),
    ].map((column) => (column !== undefined && 'name' in column ? column.name : undefined));
    return !owners.every((owner) => firsts.includes(owner));
  };

  const timesWithoutZone = (table: PgTable): string[] =>
    getTableConfig(table)
      .columns.filter((column) => is(column, PgTimestamp) && !column.withTimezone)
      .map(({ name }) => `${getTableName(table)}.${name}`);

  it('are all known to drizzle-kit, and to the migrations', () => {
    expect(drizzleConfig.schema).toBe('./src/**/*.table.ts');
    const journal = JSON.parse(readFileSync('drizzle/meta/_journal.json', 'utf8')) as { entries: { idx: number }[] };
    const last = String(journal.entries.at(-1)!.idx).padStart(4, '0');
    const snapshot = JSON.parse(readFileSync(`drizzle/meta/${last}_snapshot.json`, 'utf8')) as { tables: Record<string, { name: string }> };
    expect(tables.map((table) => getTableName(table)).sort()).toEqual(
      Object.values(snapshot.tables)
        .map(({ name }) => name)
        .sort(),
    );
  });

  it('have an index that starts with the owner of a row', () => {
    expect(tables.filter(lacksOwnerIndex).map((table) => getTableName(table))).toEqual([]);
  });

  it('would be caught without that index', () => {
    const columns = { id: uuid('id').primaryKey(), organizationId: uuid('organization_id').notNull(), name: text('name') };
    expect(lacksOwnerIndex(pgTable('without', columns))).toBe(true);
    expect(lacksOwnerIndex(pgTable('second', columns, (table) => [index().on(table.name, table.organizationId)]))).toBe(true);
    expect(lacksOwnerIndex(pgTable('first', columns, (table) => [index().on(table.organizationId, table.name)]))).toBe(false);
    const ownedColumns = { ownerId: uuid('owner_id').notNull(), day: integer('day').notNull() };
    expect(lacksOwnerIndex(pgTable('keyed', ownedColumns, (table) => [primaryKey({ columns: [table.ownerId, table.day] })]))).toBe(false);
  });

  it('keep every time with its zone', () => {
    expect(tables.flatMap(timesWithoutZone)).toEqual([]);
    expect(timesWithoutZone(pgTable('local', { at: timestamp('at') }))).toEqual(['local.at']);
  });
});

describe('the migrations', () => {
  /** drizzle-kit makes up names of an adjective and a hero. */
  const heroes = /heroes = \[([^\]]+)\]/.exec(readFileSync('node_modules/drizzle-kit/bin.cjs', 'utf8'))![1]!.match(/[a-z_0-9]+/g)!;

  const badlyNamed = (tags: string[]) =>
    tags.filter(
      (tag) => !/^\d{4}_[a-z][a-z0-9_]+$/.test(tag) || heroes.some((hero) => /^\d{4}_[a-z]+_/.test(tag) && tag.endsWith(`_${hero}`)),
    );

  it('have descriptive names', () => {
    const journal = JSON.parse(readFileSync('drizzle/meta/_journal.json', 'utf8')) as { entries: { tag: string }[] };
    const tags = journal.entries.map(({ tag }) => tag);
    expect(badlyNamed(tags)).toEqual([]);
    expect(
      globSync('drizzle/*.sql')
        .map((at) => path.basename(at, '.sql'))
        .sort(),
    ).toEqual(tags.toSorted());
  });

  it('would be caught with a made-up name', () => {
    expect(heroes.length).toBeGreaterThan(100);
    expect(badlyNamed(['0001_busy_wolverine', '0002_Add', '3_x', '0004_add_usage_rollups'])).toEqual([
      '0001_busy_wolverine',
      '0002_Add',
      '3_x',
    ]);
  });
});
