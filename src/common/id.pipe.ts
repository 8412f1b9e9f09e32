import { type ArgumentMetadata, Injectable, type PipeTransform } from '@nestjs/common';
import { InvalidRequest } from './common.errors.js';
import { isId } from './ids.js';

/** Lets UUIDs through, in the lower case that everything is compared and written down in, and names the parameter that is none. */
@Injectable()
export class IdPipe implements PipeTransform<unknown, string> {
  transform(value: unknown, { data }: ArgumentMetadata): string {
    if (isId(value)) return value.toLowerCase();
    throw new InvalidRequest({ errors: [{ path: `params.${data ?? 'id'}`, message: `${data ?? 'id'} must be a UUID` }] });
  }
}
