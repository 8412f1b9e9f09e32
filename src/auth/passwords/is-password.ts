import { applyDecorators } from '@nestjs/common';
import { ApiProperty } from '@nestjs/swagger';
import { ValidateBy } from 'class-validator';

/** In Unicode code points, as JSON Schema counts `maxLength`, and not in UTF-16 units. */
export const PASSWORD_LENGTH = { min: 8, max: 128 } as const;

export const IsPassword = (min = 1): PropertyDecorator =>
  applyDecorators(
    ValidateBy({
      name: 'isPassword',
      validator: {
        validate: (value) => typeof value === 'string' && isBetween([...value].length, min, PASSWORD_LENGTH.max),
        defaultMessage: () => `$property must be a text of ${min} to ${PASSWORD_LENGTH.max} characters`,
      },
    }),
    ApiProperty({ minLength: min, maxLength: PASSWORD_LENGTH.max }),
  );

const isBetween = (value: number, min: number, max: number) => value >= min && value <= max;
