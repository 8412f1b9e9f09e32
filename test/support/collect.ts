import { globSync } from 'node:fs';
import path from 'node:path';

/** The exports of every `test/<module>/<name>.<kind>.ts`, with which modules extend a shared check. */
export async function collect<Exports>(kind: string): Promise<[file: string, exports: Exports][]> {
  const files = globSync(`test/**/*.${kind}.ts`).toSorted();
  return Promise.all(files.map(async (file): Promise<[string, Exports]> => [file, (await import(path.resolve(file))) as Exports]));
}

/** The file of a module for a shared check, for the message that asks for it. */
export function expectedFile(sourceFile: string, kind: string): string {
  const module = sourceFile.split('/')[1]!;
  return `test/${module}/${module}.${kind}.ts`;
}
