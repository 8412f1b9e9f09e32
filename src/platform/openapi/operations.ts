import { STATUS_CODES } from 'node:http';
import type { INestApplication, INestApplicationContext } from '@nestjs/common';
import { MetadataScanner, ModulesContainer, Reflector } from '@nestjs/core';
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
import { ACCESS, type Access, type Limit, LIMITS } from '../../access/access.decorators.js';
import { RateLimited } from '../../access/access.errors.js';
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
import { exampleOf, isReference, modernise } from './schemas.js';

const EXAMPLE_ID = '01980a3e-7c1d-7f6a-b1c2-3d4e5f607182';

const METHODS = ['get', 'put', 'post', 'patch', 'delete'] as const;

const HEADERS: HeadersObject = {
  'X-Request-Id': {
    description: 'Yours, if you sent a harmless one; otherwise ours. It stands in our logs.',
    schema: { type: 'string', examples: [EXAMPLE_ID] },
  },
  RateLimit: {
    description: 'What is left of each allowance (`r`), and in how many seconds it is whole again (`t`).',
    schema: { type: 'string', examples: ['"api";r=999;t=1'] },
  },
  'RateLimit-Policy': {
    description: 'The allowances that this call spends: so many requests (`q`) in so many seconds (`w`).',
    schema: { type: 'string', examples: ['"api";q=1000;w=60'] },
  },
  'Retry-After': { description: 'Try again after so many seconds.', schema: { type: 'integer', minimum: 1, examples: [3] } },
  'WWW-Authenticate': { description: 'How to show who you are.', schema: { type: 'string', examples: ['Bearer'] } },
  'set-auth-token': {
    description: 'The session token, for `Authorization: Bearer`.',
    schema: { type: 'string', examples: ['Vt0aS1hTzJ8qYw3Xb7LpA9cRkD2mNf4e.3q2+7wAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA='] },
  },
  Location: { description: 'Where to go on.', schema: { type: 'string', format: 'uri', examples: ['https://app.example.com/welcome'] } },
};

/** A handler and the class it stands in. */
export interface Route {
  handler: object;
  controller: object;
}

/**
 * Every handler by its name, which is its operationId.
 *
 * @throws {Error} for two handlers of one name
 */
export function routesOf(app: INestApplicationContext): Map<string, Route> {
  const routes = new Map<string, Route>();
  const scanner = new MetadataScanner();
  for (const { controllers } of app.get(ModulesContainer).values()) {
    for (const { metatype } of controllers.values()) {
      if (typeof metatype !== 'function') continue;
      const prototype = metatype.prototype as Record<string, object>;
      for (const name of scanner.getAllMethodNames(prototype)) {
        const handler = prototype[name]!;
        if (!Reflect.hasMetadata('path', handler)) continue;
        if (routes.has(name)) throw new Error(`Two routes are called ${name}: operationIds are unique in the whole API`);
        routes.set(name, { handler, controller: metatype });
      }
    }
  }
  return routes;
}

/** Says of every operation what follows from how it was declared: security, failures, headers and examples. */
export function completeOperations(document: OpenAPIObject, app: INestApplication): void {
  const routes = routesOf(app);
  const shared: Record<string, ResponseObject> = {};
  const told = new Map<string, ProblemClass>([[InternalError.code, InternalError]]);
  for (const path of Object.values(document.paths)) {
    for (const operation of METHODS.flatMap((method) => path[method] ?? [])) {
      const declared = declarationOf(routes.get(operation.operationId!)!, operation);
      for (const problem of declared.problems) told.set(problem.code, problem);
      describe(operation);
      operation.security = declared.security;
      for (const parameter of operation.parameters ?? []) if (!isReference(parameter)) completeParameter(parameter);
      if (operation.requestBody !== undefined && !isReference(operation.requestBody)) addExamples(operation.requestBody, document);
      operation.responses = { ...successes(operation, declared, document), ...failures(declared, shared) };
    }
  }
  const codes = [...told.keys()].toSorted();
  document.components = {
    ...document.components,
    headers: HEADERS,
    responses: shared,
    examples: Object.fromEntries(codes.map((code) => [code, { value: exampleProblem(told.get(code)!, document) }])),
  };
}

type Security = NonNullable<OperationObject['security']>;

interface Declaration {
  security: Security;
  isPublic: boolean;
  isLimited: boolean;
  problems: ProblemClass[];
}

function declarationOf({ handler, controller }: Route, operation: OperationObject): Declaration {
  const reflector = new Reflector();
  const targets = [handler, controller] as Parameters<typeof reflector.getAllAndOverride>[1];
  const isPublic = reflector.getAllAndOverride<Access | undefined>(ACCESS, targets) === 'public';
  const isLimited = (reflector.getAllAndOverride<Limit[] | undefined>(LIMITS, targets) ?? ['api']).length > 0;
  const problems = new Set<ProblemClass>([
    // Text that cannot be stored is refused on every route.
    InvalidRequest,
    ...(operation.requestBody === undefined ? [] : [MalformedBody, RequestTimeout, BodyTooLarge, UnsupportedMediaType]),
    ...(isLimited ? [RateLimited, ServiceUnavailable] : []),
    ...problemsOf(handler),
  ]);
  return { isPublic, isLimited, problems: [...problems], security: securityOf(isPublic, operation.security) };
}

/** @param declared what a route takes besides; a public one works without it, too */
function securityOf(isPublic: boolean, declared: Security = []): Security {
  const all: Security = isPublic ? (declared.length === 0 ? [] : [{}, ...declared]) : [{ session: [] }, { cookie: [] }, ...declared];
  return [...new Map(all.map((one) => [JSON.stringify(one), one])).values()];
}

/** The first sentence of the comment is the summary. */
function describe(operation: OperationObject): void {
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
  const answers = Object.entries(operation.responses).filter(([status]) => Number(status) < 400);
  return Object.fromEntries(
    answers.map(([status, answer]) => {
      const response = answer as ResponseObject;
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

/** @param shared collects the answers that have one reason, which are the same wherever they occur */
function failures({ problems, isPublic }: Declaration, shared: Record<string, ResponseObject>): OperationObject['responses'] {
  const byStatus = Map.groupBy(problems, ({ status }) => status);
  const answers = [...byStatus].map(([status, several]): [string, ResponseObject | ReferenceObject] => {
    const more =
      status === 429
        ? ['RateLimit', 'RateLimit-Policy', 'Retry-After']
        : status === 503
          ? ['Retry-After']
          : status === 401 && !isPublic
            ? ['WWW-Authenticate']
            : [];
    const answer = failure(several, more);
    if (several.length > 1) return [String(status), answer];
    shared[several[0]!.code] = answer;
    return [String(status), { $ref: `#/components/responses/${several[0]!.code}` }];
  });
  shared[InternalError.code] = { ...failure([InternalError], []), description: 'Any other failure.' };
  return { ...Object.fromEntries(answers), default: { $ref: `#/components/responses/${InternalError.code}` } };
}

function failure(problems: ProblemClass[], more: string[]): ResponseObject {
  return {
    description: problems.map(({ code, detail }) => `\`${code}\`: ${detail}`).join('\n\n'),
    headers: headers('X-Request-Id', ...more),
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
