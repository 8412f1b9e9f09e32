type Json = null | boolean | number | string | Json[] | { [key: string]: Json };

interface OpenApiDocument {
  openapi: string;
  info: { version: string };
  tags?: { name: string }[];
  servers?: { url: string }[];
  paths: Record<string, Record<string, Json>>;
  components: Record<string, Record<string, Json>>;
}

/** The shape of each part of the document, by the part's name. */
export type Contract = Map<string, string>;

const PROSE = new Set(['description', 'summary', 'title', 'example', 'externalDocs']);

/**
 * What callers and generated clients depend on: every operation and component without its prose. Of examples only the
 * names and the status of problems are left, because they say which error codes an operation returns.
 */
export function contractOf({ openapi, info, tags = [], servers = [], paths, components }: OpenApiDocument): Contract {
  const { examples = {}, ...others } = components;
  const parts: [string, Json][] = [
    ['document', { openapi, version: info.version, tags: tags.map(({ name }) => name), servers: servers.map(({ url }) => url) }],
    ...Object.entries(paths).flatMap(([address, item]) =>
      Object.entries(item).map(([method, operation]): [string, Json] => [`${method.toUpperCase()} ${address}`, operation]),
    ),
    ...Object.entries(others).flatMap(([kind, named]) =>
      Object.entries(named).map(([name, component]): [string, Json] => [`${kind}/${name}`, component]),
    ),
    ...Object.entries(examples).map(([name, example]): [string, Json] => [`examples/${name}`, statusOf(example)]),
  ];
  return new Map(parts.map(([name, part]) => [name, JSON.stringify(shapeOf(part))] as const).sort());
}

export function differences(before: Contract, after: Contract): { removed: string[]; added: string[]; changed: string[] } {
  const names = [...before.keys()];
  return {
    removed: names.filter((name) => !after.has(name)),
    added: [...after.keys()].filter((name) => !before.has(name)),
    changed: names.filter((name) => after.has(name) && after.get(name) !== before.get(name)),
  };
}

export function format(contract: Contract): string {
  return [...contract].map(([name, shape]) => `${name}\t${shape}\n`).join('');
}

export function parse(text: string): Contract {
  const lines = text.split('\n').filter((line) => line !== '');
  return new Map(lines.map((line) => line.split('\t') as [string, string]));
}

/** Sorts keys and lists, because their order means nothing in OpenAPI. */
function shapeOf(node: Json, isNameMap = false): Json {
  if (Array.isArray(node)) return node.map((item) => shapeOf(item)).sort((a, b) => (JSON.stringify(a) < JSON.stringify(b) ? -1 : 1));
  if (node === null || typeof node !== 'object') return node;
  if (typeof node['$ref'] === 'string') return node['$ref'].replace('#/components/', '#');
  const kept = Object.entries(node).filter(([key, value]) => isNameMap || !(PROSE.has(key) || isSampleList(key, value)));
  return Object.fromEntries(
    kept
      .map(([key, value]): [string, Json] => {
        if (!isNameMap && key === 'examples') return [key, Object.keys(value as object).sort()];
        return [key, shapeOf(value, !isNameMap && key === 'properties')];
      })
      .sort(([a], [b]) => (a < b ? -1 : 1)),
  );
}

/** A schema's samples are a list; a body's examples have names. */
function isSampleList(key: string, value: Json): boolean {
  return key === 'examples' && Array.isArray(value);
}

function statusOf(example: Json): Json {
  const { value } = example as { value?: { status?: number } };
  return { status: value?.status ?? null };
}
