import addFormats from 'ajv-formats';
import { Ajv2020, type ValidateFunction } from 'ajv/dist/2020.js';

/** The part of JSON Schema that the generator reads. */
export interface Schema {
  $ref?: string;
  type?: string | string[];
  format?: string;
  enum?: unknown[];
  properties?: Record<string, Schema>;
  required?: string[];
  additionalProperties?: boolean | Schema;
  items?: Schema;
  allOf?: Schema[];
  oneOf?: Schema[];
  anyOf?: Schema[];
  minimum?: number;
  maximum?: number;
  minLength?: number;
  maxLength?: number;
  minItems?: number;
  maxItems?: number;
  examples?: unknown[];
}

export interface Parameter {
  in: string;
  name: string;
  required?: boolean;
  schema: Schema;
}

/** The documented response of an operation with one status. */
export interface DocumentedAnswer {
  contentTypes: string[];
  /** Undefined for a response that is not JSON. */
  validate?: ValidateFunction;
  /** The error codes of problems. */
  codes: Set<string>;
}

export interface FuzzOperation {
  id: string;
  method: string;
  path: string;
  parameters: Parameter[];
  body?: Schema;
  answers: Map<number, DocumentedAnswer>;
}

interface Media {
  schema?: Schema;
  examples?: Record<string, unknown>;
}

interface RawAnswer {
  $ref?: string;
  content?: Record<string, Media>;
}

interface RawOperation {
  operationId: string;
  parameters?: Parameter[];
  requestBody?: { content: Record<string, Media> };
  responses: Record<string, RawAnswer>;
}

interface RawDocument {
  paths: Record<string, Record<string, RawOperation>>;
  components: { schemas: Record<string, Schema>; responses: Record<string, RawAnswer> };
}

/** The OpenAPI document as a test oracle: undocumented responses are failures. */
export class FuzzDocument {
  readonly operations: FuzzOperation[];
  private readonly ajv: Ajv2020;

  constructor(private readonly raw: RawDocument) {
    // Problems of all operations share one validator; unknown keywords belong to OpenAPI.
    this.ajv = new Ajv2020({ strict: false, allErrors: true });
    (addFormats as unknown as (ajv: Ajv2020) => void)(this.ajv);
    this.ajv.addSchema({ $id: 'document', components: { schemas: closed(raw.components.schemas) } });
    this.operations = Object.entries(raw.paths).flatMap(([path, methods]) =>
      Object.entries(methods).map(([method, operation]) => this.operationOf(method.toUpperCase(), path, operation)),
    );
  }

  static async read(url: string): Promise<FuzzDocument> {
    return new FuzzDocument((await (await fetch(`${url}/openapi.json`)).json()) as RawDocument);
  }

  /** The schema of a reference. */
  resolve(schema: Schema): Schema {
    const name = schema.$ref?.split('/').at(-1);
    return name === undefined ? schema : this.resolve(this.raw.components.schemas[name]!);
  }

  /** The schema of every problem. */
  problem(): ValidateFunction {
    return this.validatorOf({ $ref: '#/components/schemas/ProblemResponse' })!;
  }

  private operationOf(method: string, path: string, operation: RawOperation): FuzzOperation {
    const { operationId: id, parameters = [], requestBody, responses } = operation;
    const answers = Object.entries(responses)
      .filter(([status]) => status !== 'default')
      .map(([status, answer]) => [Number(status), this.answerOf(answer)] as const);
    return { id, method, path, parameters, body: requestBody?.content['application/json']?.schema, answers: new Map(answers) };
  }

  private answerOf({ $ref, content }: RawAnswer): DocumentedAnswer {
    if ($ref !== undefined) return this.answerOf(this.raw.components.responses[$ref.split('/').at(-1)!]!);
    const media = Object.entries(content ?? {});
    const json = media.find(([type]) => type.includes('json'))?.[1];
    return {
      contentTypes: media.map(([type]) => type),
      validate: this.validatorOf(json?.schema),
      codes: new Set(Object.keys(json?.examples ?? {})),
    };
  }

  private validatorOf(schema: Schema | undefined): ValidateFunction | undefined {
    if (schema === undefined) return undefined;
    return this.ajv.compile(JSON.parse(JSON.stringify(closed(schema)).replaceAll('"#/', '"document#/')) as object);
  }
}

/** The same schemas, without undocumented properties. */
function closed<T>(node: T): T {
  if (Array.isArray(node)) return node.map(closed) as T;
  if (typeof node !== 'object' || node === null) return node;
  const copy = Object.fromEntries(Object.entries(node).map(([key, value]) => [key, closed(value as unknown)]));
  if ('properties' in copy && !('additionalProperties' in copy)) copy['unevaluatedProperties'] = false;
  return copy as T;
}
