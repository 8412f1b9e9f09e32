import { readFileSync } from 'node:fs';
import type { Metric, Registry } from 'prom-client';
import { createApp } from '../../src/create-app.js';
import { loadConfig } from '../../src/platform/config/config.js';
import { Metrics } from '../../src/platform/metrics/metrics.service.js';

export interface KnownMetric {
  name: string;
  type: 'counter' | 'gauge' | 'histogram' | 'summary';
  help: string;
  labelNames: string[];
}

const ENVIRONMENT = {
  NODE_ENV: 'test',
  DATABASE_URL: 'postgres://localhost/none',
  PUBLIC_URL: 'http://localhost:3000',
  AUTH_SECRET: 'a test secret that is long enough to be one',
  ENCRYPTION_KEYS: `test:${Buffer.alloc(32, 7).toString('base64')}`,
  LOG_LEVEL: 'silent',
};
const PAGE = 'docs/metrics.md';
const [BEGIN, END] = ['<!-- metrics -->', '<!-- end of metrics -->'];

/** The metrics of the application, which needs no database to have them. */
export async function knownMetrics(): Promise<KnownMetric[]> {
  const app = await createApp(loadConfig(ENVIRONMENT));
  try {
    return metricsOf(app.get(Metrics).registry);
  } finally {
    await app.close();
  }
}

function metricsOf(registry: Registry): KnownMetric[] {
  return (registry.getMetricsAsArray() as unknown as (Metric & KnownMetric)[]).map(({ name, type, help, labelNames }) => ({
    name,
    type,
    help,
    labelNames,
  }));
}

/** The page with the table of our own metrics between its marks; those of Node and of the process are the library's. */
export async function referencePage(): Promise<{ is: string; shouldBe: string }> {
  const is = readFileSync(PAGE, 'utf8');
  const own = (await knownMetrics()).filter(({ name }) => /^(tenantry|http)_/.test(name)).toSorted((a, b) => (a.name < b.name ? -1 : 1));
  const rows = own.map(({ name, type, help, labelNames }) => [
    `\`${name}\``,
    type,
    labelNames.map((label) => `\`${label}\``).join(', '),
    help,
  ]);
  const cells = [['metric', 'type', 'labels', 'about'], ...rows];
  const widths = cells[0]!.map((_, column) => Math.max(...cells.map((row) => row[column]!.length)));
  const line = (row: string[]) => `| ${row.map((cell, column) => cell.padEnd(widths[column]!)).join(' | ')} |`;
  const table = [line(cells[0]!), line(widths.map((width) => '-'.repeat(width))), ...cells.slice(1).map(line)].join('\n');
  const [before, after] = [is.slice(0, is.indexOf(BEGIN)), is.slice(is.indexOf(END))];
  return { is, shouldBe: `${before}${BEGIN}\n\n${table}\n\n${after}` };
}
