import { readFileSync } from 'node:fs';
import { forbiddenIn, listImage } from './image-contents.js';

/** Prints what the image holds, by folder or package, largest first. Exits with 1 if it holds something that it must not. */
const entries = listImage(readFileSync('Dockerfile', 'utf8'));
const sizes = new Map<string, number>();
for (const { file, bytes } of entries) {
  const part = /^node_modules\/(?:@[^/]+\/)?[^/]+/.exec(file)?.[0] ?? file.split('/')[0]!;
  sizes.set(part, (sizes.get(part) ?? 0) + bytes);
}
for (const [part, bytes] of [...sizes].sort(([, a], [, b]) => b - a))
  console.log(`${String(Math.ceil(bytes / 1024)).padStart(8)} KB  ${part}`);
console.log(`${entries.length} files, ${Math.ceil(entries.reduce((sum, { bytes }) => sum + bytes, 0) / 1024 / 1024)} MB`);
const forbidden = forbiddenIn(entries);
for (const file of forbidden) console.error(`must not be in the image: ${file}`);
process.exitCode = forbidden.length === 0 ? 0 : 1;
