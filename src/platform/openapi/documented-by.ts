import { ApiProperty, type ApiPropertyOptions } from '@nestjs/swagger';
import { z } from 'zod';

/** Makes a class for `@ApiBody` with the properties of a zod schema, so that one description validates and documents. */
export function documentedBy(schema: z.ZodObject): new () => object {
  class Documented {}
  const { properties = {}, required = [] } = z.toJSONSchema(schema, {
    io: 'input',
    override: ({ jsonSchema }) => {
      delete jsonSchema.propertyNames;
      if (jsonSchema.anyOf === undefined) return;
      jsonSchema.oneOf = jsonSchema.anyOf;
      delete jsonSchema.anyOf;
    },
  });
  for (const [name, property] of Object.entries(properties))
    ApiProperty({ ...(property as ApiPropertyOptions), required: required.includes(name) } as ApiPropertyOptions)(
      Documented.prototype,
      name,
    );
  return Documented;
}
