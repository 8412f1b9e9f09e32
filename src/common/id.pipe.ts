import { type ArgumentMetadata, Injectable, type PipeTransform } from '@nestjs/common';
import { InvalidRequest } from './common.errors.js';
import { isId } from './ids.js';

/** Lets UUIDs through and names the parameter that is none. */
@Injectable()
export class IdPipe implements PipeTransform<unknown, string> {
  transform(value: unknown, { data }: ArgumentMetadata): string {
    if (isId(value)) return value;
    throw new InvalidRequest({ errors: [{ path: `params.${data ?? 'id'}`, message: `${data ?? 'id'} must be a UUID` }] });
  }
}
