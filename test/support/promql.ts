import { parser } from '@prometheus-io/lezer-promql';

interface Selector {
  metric: string;
  labels: string[];
}

export interface Query {
  selectors: Selector[];
  /** Labels in `by`, `without`, `on`, `ignoring` and `group_left`. */
  groupedBy: string[];
}

/** Parses a PromQL expression. Variables of Grafana are replaced by values. @throws {Error} for a wrong expression */
export function readQuery(expression: string): Query {
  const text = expression.replaceAll('$__rate_interval', '5m').replaceAll(/\$(\w+)/g, 'any');
  const query: Query = { selectors: [], groupedBy: [] };
  parser.parse(text).iterate({
    enter: ({ type, name, from, to, node }) => {
      if (type.isError) throw new Error(`Not PromQL at ${from}: ${expression}`);
      const word = text.slice(from, to);
      if (name === 'VectorSelector') query.selectors.push({ metric: '', labels: [] });
      const selector = query.selectors.at(-1);
      if (name === 'Identifier' && node.parent?.name === 'VectorSelector') selector!.metric = word;
      if (name === 'LabelName' && node.parent?.name === 'GroupingLabels') query.groupedBy.push(word);
      else if (name === 'LabelName') selector!.labels.push(word);
    },
  });
  return query;
}
