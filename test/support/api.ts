/** The part of the OpenAPI document that tests read. */
export interface Operation {
  id: string;
  method: string;
  path: string;
  pathParameters: string[];
  queryParameters: string[];
  headerParameters: string[];
  /** The names of the body's fields. */
  requestFields: string[];
  /** The documented statuses. */
  statuses: number[];
  /** The scopes that let an API key call it; undefined if no key may. */
  scopes: string[] | undefined;
  /** Whether it needs no credentials. */
  isPublic: boolean;
  /** Whether its body is required. */
  needsBody: boolean;
}

export interface OpenApiDocument {
  paths: Record<string, Record<string, DocumentedOperation>>;
  components: { schemas: Record<string, { properties?: object }> };
}

interface DocumentedOperation {
  operationId: string;
  parameters?: { in: string; name: string }[];
  requestBody?: { required?: boolean; content: Record<string, { schema: { $ref?: string } }> };
  responses: Record<string, unknown>;
  security?: Record<string, string[]>[];
}

/** Reads the operations of the document from the application. */
export async function readOperations(url: string): Promise<Operation[]> {
  return operationsOf((await (await fetch(`${url}/openapi.json`)).json()) as OpenApiDocument);
}

export function operationsOf(document: OpenApiDocument): Operation[] {
  const fieldsOf = (body: DocumentedOperation['requestBody']) => {
    const name = body?.content['application/json']?.schema.$ref?.split('/').at(-1);
    return name === undefined ? [] : Object.keys(document.components.schemas[name]?.properties ?? {});
  };
  return Object.entries(document.paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, { operationId, parameters = [], requestBody, responses, security = [] }]) => {
      const named = (place: string) => parameters.filter((parameter) => parameter.in === place).map(({ name }) => name);
      return {
        id: operationId,
        method: method.toUpperCase(),
        path,
        pathParameters: named('path'),
        queryParameters: named('query'),
        headerParameters: named('header'),
        requestFields: fieldsOf(requestBody),
        statuses: Object.keys(responses).map(Number),
        scopes: security.find((scheme) => 'apiKey' in scheme)?.['apiKey'],
        isPublic: security.length === 0 || security.some((scheme) => Object.keys(scheme).length === 0),
        needsBody: requestBody?.required === true,
      };
    }),
  );
}

export interface Answer {
  status: number;
  text: string;
  headers: Headers;
}

export interface Call {
  method: string;
  path: string;
  headers?: Record<string, string>;
  query?: Record<string, string>;
  body?: unknown;
}

/** Sends one request, without following redirects. */
export async function call(url: string, { method, path, headers = {}, query = {}, body }: Call): Promise<Answer> {
  const target = new URL(path, url);
  for (const [name, value] of Object.entries(query)) target.searchParams.set(name, value);
  const hasBody = body !== undefined;
  const response = await fetch(target, {
    method,
    redirect: 'manual',
    headers: { ...headers, ...(hasBody && { 'content-type': 'application/json' }) },
    body: hasBody ? JSON.stringify(body) : undefined,
  });
  return { status: response.status, text: await response.text(), headers: response.headers };
}

/** The path of an operation with its parameters. */
export function fill({ path }: Operation, parameters: Record<string, string>): string {
  return path.replaceAll(/\{(\w+)\}/g, (_, name: string) => encodeURIComponent(parameters[name] ?? `no-value-for-${name}`));
}

/** A problem without its request id. */
export function withoutRequestId(text: string): string {
  return text.replace(/"requestId":"[^"]*"/, '"requestId":""');
}
