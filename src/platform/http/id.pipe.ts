import { type ArgumentMetadata, Injectable, type PipeTransform } from '@nestjs/common';
import { InvalidRequest } from '../problems/problems.errors.js';
import { isId } from '../crypto/ids.js';

/** Accepts UUIDs and returns them in lower case. */
@Injectable()
export class IdPipe implements PipeTransform<unknown, string> {
  transform(value: unknown, { data }: ArgumentMetadata): string {
    if (isId(value)) return value.toLowerCase();
    throw new InvalidRequest({ errors: [{ path: `params.${data ?? 'id'}`, message: `${data ?? 'id'} must be a UUID` }] });
  }
}
