import { ValidateBy, type ValidationOptions } from 'class-validator';
import { declaredScopes } from '../access/scopes.js';

/** Accepts the scopes that routes require. They are read at each call, because modules declare them as they load. */
export function IsScope(options?: ValidationOptions): PropertyDecorator {
  return ValidateBy(
    {
      name: 'isScope',
      validator: {
        validate: (value: unknown) => declaredScopes().some((scope) => scope === value),
        defaultMessage: () => `${options?.each === true ? 'each value in ' : ''}$property must be one of: ${declaredScopes().join(', ')}`,
      },
    },
    options,
  );
}
