import { readFileSync } from 'node:fs';

interface Response {
  $ref?: string;
  content?: Record<string, { examples?: Record<string, unknown> }>;
}

interface Document {
  paths: Record<string, Record<string, { responses: Record<string, Response> }>>;
  components: { responses: Record<string, Response> };
}

const { paths, components } = JSON.parse(readFileSync('openapi.json', 'utf8')) as Document;

/** Whether the API document has this status for the route, and this code if it is a problem. */
export function isDocumented(method: string, route: string, { status, code }: { status: number; code?: string }): boolean {
  const matching = Object.keys(paths).filter((path) => new RegExp(`^${path.replaceAll(/\{\w+\}/g, '[^/]+')}$`).test(route));
  // An exact path takes precedence over one with parameters.
  const [path] = matching.toSorted((a, b) => Number(a.includes('{')) - Number(b.includes('{')));
  const named = paths[path!]?.[method.toLowerCase()]?.responses[status];
  const response = named?.$ref === undefined ? named : components.responses[named.$ref.split('/').at(-1)!];
  if (response === undefined || code === undefined) return response !== undefined;
  return Object.values(response.content ?? {}).some(({ examples = {} }) => code in examples);
}
