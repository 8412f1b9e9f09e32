import { globSync, readFileSync } from 'node:fs';
import path from 'node:path';
import ts from 'typescript';
import type { Mutation, Place } from './mutations.js';

interface SourceText {
  /** Below the root: `src/users/users.service.ts`. */
  file: string;
  text: string;
}

interface Range {
  start: number;
  end: number;
}

const SOURCES: SourceText[] = globSync('src/**/*.ts')
  .filter((file) => !file.endsWith('.spec.ts'))
  .map((file) => ({ file, text: readFileSync(file, 'utf8') }));

export function sourcesOf(role: string): SourceText[] {
  return SOURCES.filter(({ file }) => file.endsWith(`.${role}.ts`));
}

/**
 * Finds a place in the sources.
 *
 * @throws {Error} unless its declaration exists once and has the text once
 */
export function locate({ within, search }: Place): SourceText & Range {
  const [name] = within.split('.') as [string];
  const declared = SOURCES.filter(({ text }) => text.includes(name)).flatMap((source) =>
    declarationsOf(source)
      .filter((one) => one.name === within)
      .map((range) => ({ ...source, ...range })),
  );
  if (declared.length !== 1) throw new Error(`src/ has ${declared.length} declarations of ${within}`);
  const { file, text, start, end } = declared[0]!;
  const found = [...text.slice(start, end).matchAll(patternOf(search))];
  if (found.length !== 1) throw new Error(`${file}: ${within} has "${search}" ${found.length} times`);
  const from = start + found[0]!.index;
  return { file, text, start: from, end: from + found[0]![0].length };
}

/** The compiled file with the mutation in it, and its path below dist/. */
export function compileMutated(mutation: Mutation): { file: string; text: string } {
  const { file, text, start, end } = locate(mutation);
  const { config } = ts.readConfigFile('tsconfig.json', ts.sys.readFile) as { config: { compilerOptions: object } };
  const { options } = ts.convertCompilerOptionsFromJson({ ...config.compilerOptions, sourceMap: false }, '.');
  const { outputText } = ts.transpileModule(`${text.slice(0, start)}${mutation.replace}${text.slice(end)}`, {
    fileName: path.resolve(file),
    // Alone, a file does not show that its package is one of ES modules.
    compilerOptions: { ...options, module: ts.ModuleKind.ESNext },
  });
  return { file: path.relative('src', file).replace(/\.ts$/, '.js'), text: outputText };
}

/** A space stands for line breaks too. */
function patternOf(search: string): RegExp {
  return new RegExp(
    search
      .split(/\s+/)
      .map((word) => word.replaceAll(/\W/g, '\\$&'))
      .join('\\s+'),
    'g',
  );
}

const parsed = new Map<string, (Range & { name: string })[]>();

function declarationsOf(source: SourceText): (Range & { name: string })[] {
  const known = parsed.get(source.file) ?? parse(source);
  parsed.set(source.file, known);
  return known;
}

/** Functions, variables and class members at the top of a file. */
function parse({ file, text }: SourceText): (Range & { name: string })[] {
  const source = ts.createSourceFile(file, text, ts.ScriptTarget.Latest);
  const rangeOf = (node: ts.Node, name: string) => ({ name, start: node.getStart(source), end: node.end });
  return source.statements.flatMap((statement) => {
    if (ts.isFunctionDeclaration(statement)) return [rangeOf(statement, statement.name!.text)];
    if (ts.isVariableStatement(statement))
      return statement.declarationList.declarations.map((one) => rangeOf(one, one.name.getText(source)));
    if (!ts.isClassDeclaration(statement)) return [];
    return statement.members.map((member) => rangeOf(member, `${statement.name!.text}.${member.name?.getText(source) ?? 'constructor'}`));
  });
}
