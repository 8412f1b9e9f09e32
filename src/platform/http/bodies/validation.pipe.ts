import { type ArgumentMetadata, Injectable, ValidationPipe } from '@nestjs/common';
import { plainToInstance } from 'class-transformer';
import { getMetadataStorage, ValidationError, type ValidatorOptions, ValidationTypes } from 'class-validator';
import { InvalidRequest } from '../../problems/problems.errors.js';
import type { InvalidField } from '../../problems/problem.js';
import { hasRules, isSurelyValid } from './valid-objects.js';

const PLACES: Record<string, string> = { body: 'body', query: 'query', param: 'params' };

/** Nest's pipe with our rules: unknown fields are refused, and each failure names its field. */
@Injectable()
export class RequestValidationPipe extends ValidationPipe {
  constructor() {
    super({
      whitelist: true,
      forbidNonWhitelisted: true,
      transform: true,
      transformOptions: { enableImplicitConversion: false, exposeDefaultValues: true },
      validationError: { target: false, value: false },
    });
  }

  override async transform(value: unknown, metadata: ArgumentMetadata): Promise<unknown> {
    const place = PLACES[metadata.type] ?? metadata.type;
    const given = metadata.type === 'body' && value === undefined ? {} : value;
    if (metadata.type === 'body' || (metadata.type === 'query' && metadata.data === undefined)) requireOwnFields(given, place);
    if (metadata.type === 'query') refuseRepeated(given, place);
    const { metatype } = metadata;
    if (metatype !== undefined && hasRules(metatype) && isFlat(given)) {
      const entity = plainToInstance(metatype, given, this.transformOptions);
      if (isSurelyValid(entity)) return entity;
    }
    try {
      return await super.transform(given, metadata);
    } catch (error) {
      if (error instanceof InvalidFields) throw new InvalidRequest({ errors: describe(error.errors, place) });
      throw error;
    }
  }

  protected override validate(object: object, options?: ValidatorOptions): Promise<ValidationError[]> | ValidationError[] {
    if (isSurelyValid(object)) return [];
    const misplaced = findMisplacedLists(object);
    return misplaced.length > 0 ? misplaced : super.validate(object, options);
  }

  override createExceptionFactory() {
    return (errors: ValidationError[] = []) => new InvalidFields(errors);
  }
}

const nestedFields = new WeakMap<object, Map<string, 'object' | 'list'>>();

function nestedFieldsOf({ constructor }: object): Map<string, 'object' | 'list'> {
  const known = nestedFields.get(constructor);
  if (known !== undefined) return known;
  const declared = getMetadataStorage().getTargetValidationMetadatas(constructor, '', false, false);
  const nested = declared.filter(({ type }) => type === ValidationTypes.NESTED_VALIDATION);
  const found = new Map(nested.map(({ propertyName, each }) => [propertyName, each ? ('list' as const) : ('object' as const)]));
  nestedFields.set(constructor, found);
  return found;
}

/** class-validator takes a list in place of an object, and reports every item of it. We report the list. */
function findMisplacedLists(object: object): ValidationError[] {
  return [...nestedFieldsOf(object)].flatMap(([property, wanted]) => {
    const value = (object as Record<string, unknown>)[property];
    const fail = (message: string) => [Object.assign(new ValidationError(), { property, constraints: { [property]: message } })];
    if (wanted === 'object') {
      if (Array.isArray(value)) return fail(`${property} must be an object`);
      return isObject(value) ? wrap(property, findMisplacedLists(value)) : [];
    }
    if (!Array.isArray(value)) return [];
    if (value.some((item) => Array.isArray(item))) return fail(`each value in ${property} must be an object`);
    return value.flatMap((item: unknown, index) => (isObject(item) ? wrap(property, wrap(String(index), findMisplacedLists(item))) : []));
  });
}

function wrap(property: string, children: ValidationError[]): ValidationError[] {
  return children.length === 0 ? [] : [Object.assign(new ValidationError(), { property, children })];
}

/** Nothing in it is nested, so Nest's pipe would find nothing to clean before it makes the instance. */
function isFlat(value: unknown): value is object {
  return isObject(value) && !Array.isArray(value) && !Object.values(value).some(isObject);
}

function isObject(value: unknown): value is object {
  return typeof value === 'object' && value !== null;
}

/** Names that every object has are unknown fields too; class-validator overlooks them. */
function requireOwnFields(value: unknown, place: string): void {
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw new InvalidRequest({ errors: [{ path: place, message: `${place} must be an object` }] });
  const foreign = Object.keys(value).filter((name) => name in Object.prototype || name === 'prototype');
  if (foreign.length === 0) return;
  throw new InvalidRequest({ errors: foreign.map((name) => ({ path: `${place}.${name}`, message: `property ${name} should not exist` })) });
}

/** Express makes a list of a parameter that is given twice. */
function refuseRepeated(query: unknown, place: string): void {
  const repeated = Object.keys(query as object).filter((name) => Array.isArray((query as Record<string, unknown>)[name]));
  if (repeated.length === 0) return;
  throw new InvalidRequest({ errors: repeated.map((name) => ({ path: `${place}.${name}`, message: `${name} was given more than once` })) });
}

class InvalidFields extends Error {
  constructor(readonly errors: ValidationError[]) {
    super('invalid fields');
  }
}

function describe(errors: ValidationError[], prefix: string): InvalidField[] {
  return errors.flatMap((error) => {
    const path = `${prefix}.${error.property}`;
    const own = Object.values(error.constraints ?? {}).map((message) => ({ path, message }));
    return [...own, ...describe(error.children ?? [], path)];
  });
}
