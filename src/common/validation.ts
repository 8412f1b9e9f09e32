import { type ArgumentMetadata, Injectable, ValidationPipe } from '@nestjs/common';
import type { ValidationError } from 'class-validator';
import { InvalidRequest } from './common.errors.js';
import type { InvalidField } from './problem.js';

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
    try {
      return await super.transform(given, metadata);
    } catch (error) {
      if (error instanceof InvalidFields) throw new InvalidRequest({ errors: describe(error.errors, place) });
      throw error;
    }
  }

  override createExceptionFactory() {
    return (errors: ValidationError[] = []) => new InvalidFields(errors);
  }
}

/** Every body and query is an object. Names that all objects know are unknown fields too, which class-validator overlooks. */
function requireOwnFields(value: unknown, place: string): void {
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw new InvalidRequest({ errors: [{ path: place, message: `${place} must be an object` }] });
  const errors = Object.keys(value)
    .filter((name) => name in Object.prototype || name === 'prototype')
    .map((name) => ({ path: `${place}.${name}`, message: `property ${name} should not exist` }));
  if (errors.length > 0) throw new InvalidRequest({ errors });
}

/** Carries what class-validator found to where the place in the request is known. */
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
