import { ValidationPipe } from '@nestjs/common';
import { getMetadataStorage, validateSync } from 'class-validator';
import fc from 'fast-check';
import { AppModule } from '../../../src/app.module.js';
import { hasRules, isSurelyValid } from '../../../src/platform/http/bodies/valid-objects.js';
import { RequestValidationPipe } from '../../../src/platform/http/bodies/validation.pipe.js';

type Class = new () => object;

/** Every class with rules: the requests of all modules. */
const classes = [
  ...(getMetadataStorage() as unknown as { validationMetadatas: Map<Class, { propertyName: string }[]> }).validationMetadatas,
];

const value = fc.oneof(
  fc.constantFrom<unknown>(
    undefined,
    null,
    '',
    ' ',
    'a',
    'true',
    'false',
    '1',
    '25',
    '1000',
    'abc',
    'Some name',
    'person@example.com',
    'admin',
  ),
  fc.constantFrom<unknown>(
    '2026-01-01T00:00:00Z',
    '00000000-0000-7000-8000-000000000001',
    'http://localhost:3000/x',
    'Europe/Berlin',
    'usage:write',
  ),
  fc.constantFrom<unknown>(true, 0, 1, -1, 1.5, 10_000, [], ['usage:write'], ['a', 1], {}, { a: 'b' }, [{}], 'x'.repeat(300)),
);
const objectOf = (names: readonly string[]) =>
  fc.oneof(
    fc.record(Object.fromEntries(names.map((name) => [name, value])), { requiredKeys: [] }),
    fc.record({ ...Object.fromEntries(names.map((name) => [name, value])), unknown: value }, { requiredKeys: [] }),
  );

describe('the quick check of a request', () => {
  it('knows the rules of nearly all classes', () => {
    expect(AppModule.name).toBe('AppModule');
    expect(classes.length).toBeGreaterThan(30);
    expect(classes.filter(([type]) => !hasRules(type)).length).toBeLessThan(6);
  });

  it.each(classes.map(([type, rules]) => [type.name, type, [...new Set(rules.map(({ propertyName }) => propertyName))]] as const))(
    'agrees with class-validator, and the pipe with that of Nest: %s',
    async (_name, type, names) => {
      const options = { whitelist: true, forbidNonWhitelisted: true, forbidUnknownValues: false };
      const [ours, theirs] = [
        new RequestValidationPipe(),
        new ValidationPipe({ ...options, transform: true, transformOptions: { exposeDefaultValues: true } }),
      ];
      const outcomeOf = async (pipe: ValidationPipe, given: object) =>
        pipe.transform(structuredClone(given), { type: 'body', metatype: type }).then(
          (entity: object) => ({ entity, type: entity.constructor }),
          () => 'refused',
        );
      await fc.assert(
        fc.asyncProperty(objectOf(names), async (given) => {
          const object = Object.assign(new type(), given);
          expect(isSurelyValid(object)).toBe(hasRules(type) && validateSync(object, options).length === 0);
          expect(await outcomeOf(ours, given)).toEqual(await outcomeOf(theirs, given));
        }),
        { numRuns: 100 },
      );
    },
  );
});
