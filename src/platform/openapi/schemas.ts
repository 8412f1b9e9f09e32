import type { OpenAPIObject, ReferenceObject, SchemaObject } from '@nestjs/swagger';

type Schema = SchemaObject | ReferenceObject;

/** Times have no example of their own. */
const EXAMPLE_TIME = '2026-01-15T09:30:00.000Z';

/** Marks a string as the name of a scope. Which scopes there are is known once all modules are loaded. */
export const SCOPE_FORMAT = 'scope';

/** Makes the schemas say what 3.1 can say, in an order that does not depend on which module loads first. */
export function completeSchemas(document: OpenAPIObject, scopes: string[]): void {
  const schemas = document.components?.schemas ?? {};
  for (const [name, schema] of Object.entries(schemas)) {
    modernise(schema);
    if (!isReference(schema)) listScopes(schema, scopes);
    // The validation refuses unknown fields.
    if (name.endsWith('Request') && !isReference(schema)) schema.additionalProperties = false;
  }
  document.components = { ...document.components, schemas: Object.fromEntries(Object.entries(schemas).toSorted(byName)) };
}

function listScopes({ properties = {} }: SchemaObject, scopes: string[]): void {
  for (const property of Object.values(properties)) {
    if (isReference(property) || property.items === undefined || isReference(property.items)) continue;
    if (property.items.format === SCOPE_FORMAT) property.items = { type: 'string', enum: scopes };
  }
}

/** 3.1 knows `examples`, a list; `example` is a leaving of 3.0. */
export function modernise(schema: Schema): void {
  if (isReference(schema)) return;
  if (schema.example !== undefined) {
    schema.examples = [schema.example];
    delete schema.example;
  }
  for (const part of [schema.items, ...(schema.allOf ?? []), ...(schema.anyOf ?? []), ...Object.values(schema.properties ?? {})])
    if (part !== undefined) modernise(part);
}

/** A whole value, put together from the examples of its parts; optional parts without an example are left out. */
export function exampleOf(schema: Schema, document: OpenAPIObject): unknown {
  if (isReference(schema)) return exampleOf(document.components!.schemas![schema.$ref.split('/').at(-1)!]!, document);
  const { examples, allOf, anyOf, items, properties, required = [] } = schema;
  if (Array.isArray(examples)) return examples[0];
  if (schema.default !== undefined) return schema.default;
  if (schema.type?.includes('null')) return null;
  if (schema.format === 'date-time') return EXAMPLE_TIME;
  const part = allOf?.[0] ?? anyOf?.[0];
  if (part !== undefined) return exampleOf(part, document);
  if (items !== undefined) return [exampleOf(items, document)];
  if (properties === undefined) return undefined;
  const shown = Object.entries(properties).filter(([name, value]) => required.includes(name) || 'examples' in value);
  return Object.fromEntries(shown.map(([name, value]) => [name, exampleOf(value, document)]));
}

export function isReference(part: object): part is ReferenceObject {
  return '$ref' in part;
}

function byName([a]: [string, unknown], [b]: [string, unknown]): number {
  return a < b ? -1 : 1;
}
