import { STATUS_CODES } from 'node:http';
import type { INestApplication } from '@nestjs/common';
import {
  getSchemaPath,
  type HeadersObject,
  type OpenAPIObject,
  type OperationObject,
  type ParameterObject,
  type ReferenceObject,
  type ResponseObject,
  type SchemaObject,
} from '@nestjs/swagger';
import { problemResponses, problemsOf } from '../problems/problems.decorators.js';
import {
  BodyTooLarge,
  InternalError,
  InvalidRequest,
  MalformedBody,
  RequestTimeout,
  ServiceUnavailable,
  UnsupportedMediaType,
} from '../problems/problems.errors.js';
import { problemBody, type ProblemClass } from '../problems/problem.js';
import { ProblemResponse } from '../problems/problem.dto.js';
import { type Route, routesOf } from './routes.js';
import { exampleOf, isReference, modernise } from './schemas.js';

const EXAMPLE_ID = '01980a3e-7c1d-7f6a-b1c2-3d4e5f607182';

const METHODS = ['get', 'put', 'post', 'patch', 'delete'] as const;

const HEADERS: HeadersObject = {
  'X-Request-Id': {
    description: 'The id of this request in our logs: the one that you sent if it is valid, otherwise a new one.',
    schema: { type: 'string', examples: [EXAMPLE_ID] },
  },
  RateLimit: {
    description: 'The remaining requests of each rate limit (`r`), and the seconds until it is full again (`t`).',
    schema: { type: 'string', examples: ['"api";r=999;t=1'] },
  },
  'RateLimit-Policy': {
    description: 'The rate limits that this request counts against: `q` requests in `w` seconds.',
    schema: { type: 'string', examples: ['"api";q=1000;w=60'] },
  },
  'Retry-After': { description: 'The seconds to wait before the next try.', schema: { type: 'integer', minimum: 1, examples: [3] } },
  'WWW-Authenticate': { description: 'The way to authenticate.', schema: { type: 'string', examples: ['Bearer'] } },
  'set-auth-token': {
    description: 'The session token, for `Authorization: Bearer`.',
    schema: { type: 'string', examples: ['Vt0aS1hTzJ8qYw3Xb7LpA9cRkD2mNf4e.3q2+7wAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA='] },
  },
  Location: {
    description: 'The address to continue at.',
    schema: { type: 'string', format: 'uri', examples: ['https://app.example.com/welcome'] },
  },
};

/** Who may call a route, and which limit it spends. It comes from outside of `platform/`. */
export interface AccessRules {
  isPublic(route: Route): boolean;
  /** The failure of a route that spends a rate limit, undefined for one that spends none. */
  rateLimitOf(route: Route): ProblemClass | undefined;
}

/** Adds to every operation what follows from its declaration: security, failures, headers and examples. */
export function completeOperations(document: OpenAPIObject, app: INestApplication, access: AccessRules): void {
  const routes = routesOf(app);
  const sharedResponses: Record<string, ResponseObject> = {};
  const documented = new Map<string, ProblemClass>([[InternalError.code, InternalError]]);
  for (const path of Object.values(document.paths)) {
    for (const operation of METHODS.flatMap((method) => path[method] ?? [])) {
      const declared = declarationOf(routes.get(operation.operationId!)!, operation, access);
      for (const problem of declared.problems) documented.set(problem.code, problem);
      splitSummary(operation);
      operation.security = declared.security;
      for (const parameter of operation.parameters ?? []) if (!isReference(parameter)) completeParameter(parameter);
      if (operation.requestBody !== undefined && !isReference(operation.requestBody)) addExamples(operation.requestBody, document);
      operation.responses = { ...successes(operation, declared, document), ...failures(declared, sharedResponses) };
    }
  }
  const codes = [...documented.keys()].toSorted();
  document.components = {
    ...document.components,
    headers: HEADERS,
    responses: sharedResponses,
    examples: Object.fromEntries(codes.map((code) => [code, { value: exampleProblem(documented.get(code)!, document) }])),
  };
}

type Security = NonNullable<OperationObject['security']>;

interface Declaration {
  security: Security;
  isPublic: boolean;
  isLimited: boolean;
  problems: ProblemClass[];
}

function declarationOf(route: Route, operation: OperationObject, access: AccessRules): Declaration {
  const isPublic = access.isPublic(route);
  const rateLimited = access.rateLimitOf(route);
  const problems = new Set<ProblemClass>([
    // Every route refuses text that cannot be stored.
    InvalidRequest,
    ...(operation.requestBody === undefined ? [] : [MalformedBody, RequestTimeout, BodyTooLarge, UnsupportedMediaType]),
    ...(rateLimited === undefined ? [] : [rateLimited, ServiceUnavailable]),
    ...problemsOf(route.handler),
  ]);
  const security = securityOf(isPublic, operation.security);
  return { isPublic, isLimited: rateLimited !== undefined, problems: [...problems], security };
}

/** @param declared further credentials that the route accepts; a public route works without any */
function securityOf(isPublic: boolean, declared: Security = []): Security {
  const all: Security = isPublic ? (declared.length === 0 ? [] : [{}, ...declared]) : [{ session: [] }, { cookie: [] }, ...declared];
  return [...new Map(all.map((one) => [JSON.stringify(one), one])).values()];
}

/** The first sentence of the comment is the summary, the rest the description. */
function splitSummary(operation: OperationObject): void {
  const [summary = '', ...rest] = (operation.summary ?? '').split(/(?<=\.)\s+/);
  operation.summary = summary.replace(/\.$/, '');
  if (rest.length > 0) operation.description = rest.join(' ');
}

function completeParameter(parameter: ParameterObject): void {
  const { name, schema } = parameter;
  if (schema === undefined || isReference(schema)) return;
  if (parameter.in === 'path' && /(^id|Id)$/.test(name)) {
    Object.assign(schema, { format: 'uuid', example: EXAMPLE_ID });
    parameter.description ??= `Which ${name.replace(/Id$/, '')}.`;
  }
  if (parameter.example !== undefined) {
    schema.example = parameter.example as unknown;
    delete parameter.example;
  }
  modernise(schema);
}

function addExamples({ content = {} }: { content?: ResponseObject['content'] }, document: OpenAPIObject): void {
  for (const media of Object.values(content)) if (media.schema !== undefined) media.example ??= exampleOf(media.schema, document);
}

function successes(operation: OperationObject, { isLimited }: Declaration, document: OpenAPIObject): OperationObject['responses'] {
  const responses = Object.entries(operation.responses).filter(([status]) => Number(status) < 400);
  return Object.fromEntries(
    responses.map(([status, declared]) => {
      const response = declared as ResponseObject;
      for (const { schema } of Object.values(response.content ?? {})) if (schema !== undefined) modernise(schema);
      addExamples(response, document);
      const location = status === '302' ? ['Location'] : [];
      const limits = isLimited ? ['RateLimit', 'RateLimit-Policy'] : [];
      return [
        status,
        {
          ...response,
          description: response.description || STATUS_CODES[status]!,
          headers: { ...headers('X-Request-Id', ...limits, ...location), ...response.headers },
        },
      ];
    }),
  );
}

/** @param shared collects the responses with a single problem, which are the same in every operation */
function failures({ problems, isPublic }: Declaration, shared: Record<string, ResponseObject>): OperationObject['responses'] {
  const byStatus = Map.groupBy(problems, ({ status }) => status);
  const responses = [...byStatus].map(([status, several]): [string, ResponseObject | ReferenceObject] => {
    const response = failure(several, headersOfStatus(status, isPublic));
    if (several.length > 1) return [String(status), response];
    shared[several[0]!.code] = response;
    return [String(status), { $ref: `#/components/responses/${several[0]!.code}` }];
  });
  shared[InternalError.code] = { ...failure([InternalError], []), description: 'Any other failure.' };
  return { ...Object.fromEntries(responses), default: { $ref: `#/components/responses/${InternalError.code}` } };
}

function headersOfStatus(status: number, isPublic: boolean): string[] {
  if (status === 429) return ['RateLimit', 'RateLimit-Policy', 'Retry-After'];
  if (status === 503) return ['Retry-After'];
  return status === 401 && !isPublic ? ['WWW-Authenticate'] : [];
}

function failure(problems: ProblemClass[], headerNames: string[]): ResponseObject {
  return {
    description: problems.map(({ code, detail }) => `\`${code}\`: ${detail}`).join('\n\n'),
    headers: headers('X-Request-Id', ...headerNames),
    content: {
      'application/problem+json': {
        schema: schemaOf(problems),
        examples: Object.fromEntries(problems.map(({ code }) => [code, { $ref: `#/components/examples/${code}` }])),
      },
    },
  };
}

function schemaOf(problems: ProblemClass[]): SchemaObject | ReferenceObject {
  const names = new Set(problems.map((problem) => getSchemaPath(problemResponses().get(problem) ?? ProblemResponse)));
  const schemas = [...names].map(($ref) => ({ $ref }));
  return schemas.length === 1 ? schemas[0]! : { oneOf: schemas };
}

function headers(...names: string[]): Record<string, ReferenceObject> {
  return Object.fromEntries(names.map((name) => [name, { $ref: `#/components/headers/${name}` }]));
}

function exampleProblem(problem: ProblemClass, document: OpenAPIObject): object {
  const errors = problem === InvalidRequest ? [{ path: 'body.name', message: 'name must be a string' }] : undefined;
  const response = problemResponses().get(problem);
  const members = response && exampleOf({ $ref: getSchemaPath(response) }, document);
  return { ...(members as object | undefined), ...problemBody(new problem({ errors }), EXAMPLE_ID) };
}
