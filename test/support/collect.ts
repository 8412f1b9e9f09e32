import { globSync } from 'node:fs';
import path from 'node:path';

/** What modules add to a shared check: every `test/<module>/<name>.<kind>.ts`, by its path. */
export async function collect<Exports>(kind: string): Promise<[file: string, exports: Exports][]> {
  const files = globSync(`test/**/*.${kind}.ts`).toSorted();
  return Promise.all(files.map(async (file): Promise<[string, Exports]> => [file, (await import(path.resolve(file))) as Exports]));
}

/** Where a module keeps such a file, for the sentence that asks for it. */
export function expectedFile(sourceFile: string, kind: string): string {
  const module = sourceFile.split('/')[1]!;
  return `test/${module}/${module}.${kind}.ts`;
}
