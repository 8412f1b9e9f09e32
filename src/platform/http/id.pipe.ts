import { type ArgumentMetadata, Injectable, type PipeTransform } from '@nestjs/common';
import { InvalidRequest } from '../problems/problems.errors.js';
import { isId } from '../crypto/ids.js';

/** Lets UUIDs through, in the lower case in which the database answers them, and names the parameter that is none. */
@Injectable()
export class IdPipe implements PipeTransform<unknown, string> {
  transform(value: unknown, { data }: ArgumentMetadata): string {
    // One spelling: ids are compared as text, too.
    if (isId(value)) return value.toLowerCase();
    throw new InvalidRequest({ errors: [{ path: `params.${data ?? 'id'}`, message: `${data ?? 'id'} must be a UUID` }] });
  }
}
