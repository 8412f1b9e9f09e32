import path from 'node:path';
import ts from 'typescript';
import type { Rule, Source } from './architecture.js';
import { dialectIn } from './language.js';

const FILE_LINES = 420;
const FUNCTION_LINES = 60;
const FOLDER_FILES = 12;
const README_LINES = 60;

/** A class that Nest injects has one of these roles in its file's name. */
const ROLES = new Set([
  'module',
  'controller',
  'service',
  'repository',
  'guard',
  'filter',
  'pipe',
  'interceptor',
  'job',
  'worker',
  'listener',
  'client',
  'port',
  'policy',
  'command',
]);

export const filesAreShort: Rule = (sources) =>
  sources.flatMap(({ path: file, text }) => {
    const lines = linesOf(text).length;
    return lines > FILE_LINES ? [`${file} has ${lines} lines`] : [];
  });

export const functionsAreShort: Rule = (sources) =>
  sources.flatMap((source) => {
    const file = parse(source);
    const long: string[] = [];
    const visit = (node: ts.Node): void => {
      const lines = ts.isFunctionLike(node) ? lineAt(file, node.end) - lineAt(file, node.getStart(file)) + 1 : 0;
      if (lines > FUNCTION_LINES) long.push(`${source.path}:${lineAt(file, node.getStart(file)) + 1} has a function of ${lines} lines`);
      ts.forEachChild(node, visit);
    };
    visit(file);
    return long;
  });

export const foldersAreSmall: Rule = (sources) =>
  [...Map.groupBy(sources, ({ path: file }) => path.dirname(file))]
    .filter(([, files]) => files.length > FOLDER_FILES)
    .map(([folder, files]) => `${folder} has ${files.length} files`);

/** One level of sub-folders; below platform/, which stands for no noun of its own, two. */
export const foldersAreShallow: Rule = (sources) =>
  sources.map(({ path: file }) => file).filter((file) => path.dirname(file).split('/').length > (file.startsWith('platform/') ? 3 : 2));

export const injectablesHaveARole: Rule = (sources) =>
  sources
    .filter(({ text }) => /^@(Injectable|Catch)\(/m.test(text))
    .map(({ path: file }) => file)
    .filter((file) => !ROLES.has(/\.([a-z]+)\.ts$/.exec(file)?.[1] ?? ''));

/** One name, one meaning, in the whole of src/. */
export const exportedNamesExistOnce: Rule = (sources) => {
  const files = new Map<string, Set<string>>();
  for (const source of sources)
    for (const name of exportsOf(source)) files.set(name, (files.get(name) ?? new Set<string>()).add(source.path));
  return [...files].filter(([, where]) => where.size > 1).map(([name, where]) => `${name} is exported by ${[...where].join(' and ')}`);
};

export const commentsArePlainEnglish: Rule = (sources) =>
  sources.flatMap((source) => {
    const { comments } = commentsOf(source);
    return comments.flatMap(({ line, text }) => dialectIn(text).map((phrase) => `${source.path}:${line}: "${phrase}"`));
  });

export const titlesArePlainEnglish: Rule = (sources) =>
  sources.flatMap((source) =>
    titlesOf(source).flatMap(({ line, text }) => dialectIn(text).map((phrase) => `${source.path}:${line}: "${phrase}"`)),
  );

/** @param readmes the READMEs below `src/`, by folder, with their text */
export function foldersExplainThemselves(sources: Source[], readmes: ReadonlyMap<string, string>): string[] {
  const folders = new Set(sources.map(({ path: file }) => path.dirname(path.dirname(file))).filter((folder) => folder !== '.'));
  return [...folders].flatMap((folder) => {
    const readme = readmes.get(folder);
    if (readme === undefined) return [`${folder} has sub-folders and no README.md`];
    return linesOf(readme).length > README_LINES ? [`${folder}/README.md has ${linesOf(readme).length} lines`] : [];
  });
}

/** How many of all lines hold a comment, between 0 and 1. */
export function commentShare(sources: Source[]): number {
  const all = sources.map(commentsOf);
  return sum(all.map(({ lines }) => lines)) / sum(sources.map(({ text }) => linesOf(text).length));
}

interface Prose {
  /** From 1. */
  line: number;
  text: string;
}

function commentsOf(source: Source): { comments: Prose[]; lines: number } {
  const file = parse(source);
  const ranges = new Map<number, ts.CommentRange>();
  const visit = (node: ts.Node): void => {
    const found = [ts.getLeadingCommentRanges(source.text, node.pos), ts.getTrailingCommentRanges(source.text, node.end)];
    for (const range of found.flatMap((some) => some ?? [])) ranges.set(range.pos, range);
    node.getChildren(file).forEach(visit);
  };
  visit(file);
  const lines = new Set<number>();
  for (const { pos, end } of ranges.values()) for (let line = lineAt(file, pos); line <= lineAt(file, end); line += 1) lines.add(line);
  const comments = [...ranges.values()].map(({ pos, end }) => ({ line: lineAt(file, pos) + 1, text: source.text.slice(pos, end) }));
  return { comments, lines: lines.size };
}

/** The titles of `describe`, `it` and their `each`. */
function titlesOf(source: Source): Prose[] {
  const file = parse(source);
  const titles: Prose[] = [];
  const visit = (node: ts.Node): void => {
    if (ts.isCallExpression(node) && /^(describe|it)\b/.test(node.expression.getText(file))) {
      const [title] = node.arguments;
      if (title !== undefined && (ts.isStringLiteralLike(title) || ts.isTemplateExpression(title)))
        titles.push({ line: lineAt(file, title.getStart(file)) + 1, text: title.getText(file) });
    }
    ts.forEachChild(node, visit);
  };
  visit(file);
  return titles;
}

function exportsOf(source: Source): string[] {
  return parse(source).statements.flatMap((statement) => {
    const isExported =
      ts.canHaveModifiers(statement) && ts.getModifiers(statement)?.some(({ kind }) => kind === ts.SyntaxKind.ExportKeyword);
    if (!isExported) return [];
    if (ts.isVariableStatement(statement)) return statement.declarationList.declarations.map(({ name }) => name.getText());
    const named = statement as ts.Statement & { name?: ts.Identifier };
    return named.name === undefined ? [] : [named.name.text];
  });
}

const parsed = new WeakMap<Source, ts.SourceFile>();

function parse(source: Source): ts.SourceFile {
  const known = parsed.get(source) ?? ts.createSourceFile(source.path, source.text, ts.ScriptTarget.Latest, true);
  parsed.set(source, known);
  return known;
}

const lineAt = (file: ts.SourceFile, position: number): number => file.getLineAndCharacterOfPosition(position).line;
const linesOf = (text: string): string[] => text.trimEnd().split('\n');
const sum = (numbers: number[]): number => numbers.reduce((total, one) => total + one, 0);
