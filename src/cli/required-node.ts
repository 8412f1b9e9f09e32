import { readFileSync } from 'node:fs';

/** Ends the process with a sentence, before an import fails that an older Node does not know. */
export function requireNode(): void {
  const { engines } = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')) as { engines: { node: string } };
  const needed = engines.node.replace('>=', '');
  const { node: version } = process.versions;
  if (version.localeCompare(needed, 'en', { numeric: true }) >= 0) return;
  process.stderr.write(
    `Tenantry needs Node ${needed} or newer, and this is Node ${version}. Install a newer one, or start with npm after a complete npm ci, which brings it.\n`,
  );
  process.exit(1);
}
