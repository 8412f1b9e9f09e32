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
    try {
      return await super.transform(metadata.type === 'body' && value === undefined ? {} : value, metadata);
    } catch (error) {
      if (error instanceof InvalidFields)
        throw new InvalidRequest({ errors: describe(error.errors, PLACES[metadata.type] ?? metadata.type) });
      throw error;
    }
  }

  override createExceptionFactory() {
    return (errors: ValidationError[] = []) => new InvalidFields(errors);
  }
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
