import type { Variable, VariableGroup } from './variable.js';
import { VARIABLE_GROUPS } from './variables.js';

const EXAMPLE_HEAD = `# Copy this file to .env. A commented line shows the default, or an example where there is none.
# In development nothing has to be set. Made by \`npm run config:docs\`, like docs/configuration.md.`;

const PAGE_HEAD = `# Configuration

Tenantry reads environment variables, and a \`.env\` file beside \`package.json\` ([.env.example](../.env.example)). An empty variable counts as not set. All mistakes are printed at once, and the process exits with code 1. In development nothing has to be set: secrets are made once and kept under \`.data/\`. Without its secret, an optional feature is off.

This page is made by \`npm run config:docs\` from the descriptions in the code.`;

export function environmentExample(): string {
  const groups = VARIABLE_GROUPS.map(({ title, variables }) => `## ${title}\n\n${Object.values(variables).map(exampleOf).join('\n')}`);
  return `${[EXAMPLE_HEAD, ...groups].join('\n\n')}\n`;
}

function exampleOf({ name, description, required, secret, example, default: fallback }: Variable): string {
  const isToBeFilledIn = required === true && secret === true;
  return `# ${description.replaceAll('`', '')}\n${isToBeFilledIn ? '' : '# '}${name}=${example ?? fallback ?? ''}`;
}

export function configurationPage(): string {
  return `${[PAGE_HEAD, ...VARIABLE_GROUPS.map(sectionOf)].join('\n\n')}\n`;
}

function sectionOf({ title, page, variables }: VariableGroup): string {
  const rows = Object.values(variables).map((variable) => [`\`${variable.name}\``, defaultOf(variable), variable.description]);
  const more = page === undefined ? '' : `\n\nMore in [${page}](${page}).`;
  return `## ${title}\n\n${table(['variable', 'default', 'meaning'], rows)}${more}`;
}

function defaultOf({ whenUnset, default: fallback = '' }: Variable): string {
  return whenUnset ?? (fallback === '' ? '' : `\`${fallback}\``);
}

/** Padded, as Prettier wants it. */
function table(head: string[], rows: string[][]): string {
  const widths = head.map((title, column) => Math.max(...[title, ...rows.map((row) => row[column]!)].map((cell) => cell.length)));
  const line = (cells: string[]) => `| ${cells.map((cell, column) => cell.padEnd(widths[column]!)).join(' | ')} |`;
  const rule = widths.map((width) => '-'.repeat(width));
  return [head, rule, ...rows].map(line).join('\n');
}
