import { globSync, readFileSync } from 'node:fs';
import { parse } from 'yaml';
import { type KnownMetric, knownMetrics } from '../../support/metrics-reference.js';
import { readQuery } from '../../support/promql.js';

interface Alert {
  alert: string;
  expr: string;
  for: string;
  labels: { severity: string };
  annotations: { summary: string; runbook_url: string };
}

interface Panel {
  id: number;
  type: string;
  title: string;
  description?: string;
  gridPos: { x: number; y: number; w: number; h: number };
  targets?: { expr: string; legendFormat: string }[];
}

/** Prometheus adds these to each sample. */
const TARGET_LABELS = ['job', 'instance'];
const SUFFIXES = { histogram: ['_bucket', '_sum', '_count'], summary: ['', '_sum', '_count'], counter: [''], gauge: [''] };

const readAlerts = (text = readFileSync('deploy/prometheus/alerts.yml', 'utf8')): Alert[] =>
  (parse(text) as { groups: { rules: Alert[] }[] }).groups.flatMap(({ rules }) => rules);
const dashboards = globSync('deploy/grafana/*.json').map(
  (file) => JSON.parse(readFileSync(file, 'utf8')) as { panels: Panel[]; templating: { list: { name: string; query: unknown }[] } },
);

/** The labels of each series name. */
function seriesOf(metrics: KnownMetric[]): Map<string, string[]> {
  const series = metrics.flatMap(({ name, type, labelNames }) =>
    SUFFIXES[type].map((suffix): [string, string[]] => [
      `${name}${suffix}`,
      [...labelNames, ...TARGET_LABELS, ...(suffix === '_bucket' ? ['le'] : type === 'summary' && suffix === '' ? ['quantile'] : [])],
    ]),
  );
  return new Map([...series, ['up', TARGET_LABELS]]);
}

/** The names and labels of a query, and labels that its result must have, that no metric has. */
function unknownIn(expression: string, shown: string[], series: Map<string, string[]>): string[] {
  const { selectors, groupedBy } = readQuery(expression);
  const missing = selectors.flatMap(({ metric, labels }) => {
    const known = series.get(metric);
    return known === undefined ? [metric] : labels.filter((label) => !known.includes(label)).map((label) => `${metric}{${label}}`);
  });
  const all = new Set(selectors.flatMap(({ metric }) => series.get(metric) ?? []));
  return [...missing, ...[...groupedBy, ...shown].filter((label) => !all.has(label))];
}

const labelsIn = (text: string, pattern: RegExp) => [...text.matchAll(pattern)].map(([, label]) => label!);
/** As GitHub makes them. */
const anchorsOf = (markdown: string) =>
  new Set(
    [...markdown.matchAll(/^#+ (.+)$/gm)].map(([, title]) =>
      title!
        .toLowerCase()
        .replaceAll(/[^\w -]/g, '')
        .replaceAll(' ', '-'),
    ),
  );

describe('deployed dashboards and alerts', () => {
  let series: Map<string, string[]>;
  beforeAll(async () => {
    series = seriesOf(await knownMetrics());
  });

  it('would be caught with an unknown metric, label, grouping or legend', () => {
    expect(unknownIn('rate(tenantry_refusals_total{reason="x"}[5m])', ['status'], series)).toEqual([]);
    expect(unknownIn('tenantry_nothing', [], series)).toEqual(['tenantry_nothing']);
    expect(unknownIn('tenantry_refusals_total{cause="x"}', [], series)).toEqual(['tenantry_refusals_total{cause}']);
    expect(unknownIn('sum by (le) (tenantry_refusals_total)', [], series)).toEqual(['le']);
    expect(unknownIn('http_request_duration_seconds', [], series)).toEqual(['http_request_duration_seconds']);
    expect(unknownIn('tenantry_refusals_total', ['route'], series)).toEqual(['route']);
    expect(() => readQuery('sum by (')).toThrow('Not PromQL');
    expect(readQuery('a{x="1"} / on (y) b').groupedBy).toEqual(['y']);
  });

  describe('alerts', () => {
    const alerts = readAlerts();

    it('are many, with names of their own', () => {
      expect(alerts.length).toBeGreaterThan(15);
      expect(new Set(alerts.map(({ alert }) => alert)).size).toBe(alerts.length);
    });

    it.each(alerts.map((alert): [string, Alert] => [alert.alert, alert]))(
      '%s uses metrics and labels that exist',
      (_, { expr, annotations }) => {
        expect(unknownIn(expr, labelsIn(annotations.summary, /\$labels\.(\w+)/g), series)).toEqual([]);
      },
    );

    it('say how urgent they are, and wait before they fire', () => {
      for (const { alert, for: wait, labels } of alerts)
        expect([alert, labels.severity, wait]).toEqual([
          alert,
          expect.stringMatching(/^(critical|warning)$/),
          expect.stringMatching(/^\d+m$/),
        ]);
    });

    it('each have a section of the runbook: the meaning, where to look, how to help, and the end', () => {
      const page = readFileSync('docs/operations.md', 'utf8');
      const anchors = anchorsOf(page);
      for (const { alert, annotations } of alerts) {
        const anchor = annotations.runbook_url.split('docs/operations.md#')[1];
        expect([alert, anchor, anchors.has(anchor!)]).toEqual([alert, alert.toLowerCase(), true]);
        const section = page.split(new RegExp(`^### ${alert}$`, 'm'))[1]!.split(/^#{1,3} /m)[0]!;
        expect([alert, ...labelsIn(section, /^- \*\*(.+?)\.\*\* /gm)]).toEqual([alert, 'Means', 'Look', 'Do', 'Over']);
      }
    });

    it('are all that the runbook has', () => {
      const sections = labelsIn(readFileSync('docs/operations.md', 'utf8'), /^### (Tenantry\w+)$/gm);
      expect(sections).toEqual(alerts.map(({ alert }) => alert));
    });
  });

  describe('dashboards', () => {
    const panels = dashboards.flatMap((dashboard) => dashboard.panels.filter(({ type }) => type !== 'row'));

    it('show something in every panel', () => {
      expect(dashboards.length).toBeGreaterThan(0);
      expect(panels.length).toBeGreaterThan(20);
      for (const { title, description, targets } of panels) {
        expect([title, targets?.length]).toEqual([title, expect.any(Number)]);
        expect([title, description]).toEqual([title, expect.stringMatching(/\.$/)]);
      }
    });

    it.each(panels.map((panel): [string, Panel] => [panel.title, panel]))('%s uses metrics and labels that exist', (_, { targets }) => {
      for (const { expr, legendFormat } of targets!) expect(unknownIn(expr, labelsIn(legendFormat, /\{\{(\w+)\}\}/g), series)).toEqual([]);
    });

    it('have panels that do not overlap, with ids of their own', () => {
      for (const { panels: all } of dashboards) {
        expect(new Set(all.map(({ id }) => id)).size).toBe(all.length);
        const cells = all.flatMap(({ gridPos: { x, y, w, h } }) =>
          Array.from({ length: w * h }, (__, cell) => `${x + (cell % w)} ${y + Math.floor(cell / w)}`),
        );
        expect(new Set(cells).size).toBe(cells.length);
        expect(all.every(({ gridPos }) => gridPos.x + gridPos.w <= 24)).toBe(true);
      }
    });

    it('define the variables that their queries use', () => {
      for (const { panels: all, templating } of dashboards) {
        const used = all.flatMap(({ targets = [] }) => targets.flatMap(({ expr }) => labelsIn(expr, /\$(\w+)/g)));
        const defined = templating.list.map(({ name }) => name);
        expect([...new Set(used)].filter((name) => !name.startsWith('__') && !defined.includes(name))).toEqual([]);
      }
    });
  });
});
