import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { registerHooks } from 'node:module';
import path from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { transformSync } from '@swc/core';

const root = path.resolve(import.meta.dirname, '../../..');
const maps = path.join(root, '.build/test-maps');
mkdirSync(maps, { recursive: true });

/** Where a transformed file's source map lies, by the file's URL. */
export const sourceMaps = new Map();

const OPTIONS = {
  jsc: {
    target: 'es2024',
    parser: { syntax: 'typescript', decorators: true },
    transform: { legacyDecorator: true, decoratorMetadata: true },
  },
  sourceMaps: true,
};

const JEST_GLOBALS = `export const jest = new Proxy({}, { get: (_, name) => globalThis[Symbol.for('jest of this file')][name] });`;

/** Tests are TypeScript and run over `dist`, the very build that ships: the OpenAPI plugin does not run under SWC. */
registerHooks({
  resolve(specifier, context, next) {
    if (specifier === '@jest/globals') return { url: 'jest:globals', format: 'module', shortCircuit: true };
    const parent = context.parentURL ?? '';
    if (!specifier.startsWith('.') || !specifier.endsWith('.js') || !/\.ts(\?|$)/.test(parent)) return next(specifier, context);
    const wanted = fileURLToPath(new URL(specifier, parent)).slice(0, -'.js'.length);
    const built = wanted.replace(path.join(root, 'src'), path.join(root, 'dist')) + '.js';
    const file = wanted.startsWith(path.join(root, 'src') + path.sep) && existsSync(built) ? built : `${wanted}.ts`;
    return existsSync(file) ? { url: pathToFileURL(file).href, format: 'module', shortCircuit: true } : next(specifier, context);
  },
  load(url, context, next) {
    if (url === 'jest:globals') return { format: 'module', source: JEST_GLOBALS, shortCircuit: true };
    if (!/\.ts(\?|$)/.test(url) || !url.startsWith('file:')) return next(url, context);
    return { format: 'module', source: transformed(url), shortCircuit: true };
  },
});

function transformed(url) {
  const file = fileURLToPath(url);
  const { code, map } = transformSync(readFileSync(file, 'utf8'), { ...OPTIONS, filename: file });
  // Jest reads maps from files.
  const mapFile = path.join(maps, `${createHash('sha256').update(file).digest('hex')}.json`);
  writeFileSync(mapFile, map);
  sourceMaps.set(url, mapFile);
  return code;
}
