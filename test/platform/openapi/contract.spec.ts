import { readFileSync } from 'node:fs';
import path from 'node:path';
import { contractOf, differences, parse } from './contract.js';

const readDocument = () => JSON.parse(readFileSync('openapi.json', 'utf8'));
type Document = ReturnType<typeof readDocument>;

const committed = parse(readFileSync(path.join(import.meta.dirname, 'contract.txt'), 'utf8'));
const compareAfter = (change: (document: Document) => void) => {
  const document = readDocument();
  change(document);
  return differences(contractOf(readDocument()), contractOf(document));
};
const changed = (...names: string[]) => ({ removed: [], added: [], changed: names });

describe('the contract of openapi.json', () => {
  it('equals the committed one (after an intended change of the API: npm run openapi:contract)', () => {
    expect(differences(committed, contractOf(readDocument()))).toEqual(changed());
  });

  it('covers every operation and schema', () => {
    expect(committed.size).toBeGreaterThan(250);
    const { paths, components } = readDocument();
    const operations = Object.entries(paths as Record<string, object>).flatMap(([address, item]) =>
      Object.keys(item).map((method) => `${method.toUpperCase()} ${address}`),
    );
    const schemas = Object.keys(components.schemas).map((name) => `schemas/${name}`);
    expect([...committed.keys()]).toEqual(expect.arrayContaining([...operations, ...schemas]));
  });

  it('does not depend on prose or on the order of keys and lists', () => {
    const difference = compareAfter((document) => {
      const operation = document.paths['/v1/sessions'].get;
      const responses = Object.fromEntries(Object.entries(operation.responses).toReversed());
      Object.assign(operation, { summary: 'Other words', responses, parameters: operation.parameters.toReversed() });
      const schema = document.components.schemas.SessionResponse;
      Object.assign(schema, { description: 'Other words', required: schema.required.toReversed() });
      Object.assign(schema.properties.current, { examples: [false], title: 'Another' });
      Object.assign(document.components.examples.invalid_request.value, { detail: 'Other words' });
    });
    expect(difference).toEqual(changed());
  });

  it.each<[what: string, change: (document: Document) => void, expected: ReturnType<typeof compareAfter>]>([
    ['a removed status', (d) => delete d.paths['/v1/sessions'].get.responses['403'], changed('GET /v1/sessions')],
    [
      'a removed error code',
      (d) => delete d.paths['/v1/sessions'].get.responses['401'].content['application/problem+json'].examples.signed_out,
      changed('GET /v1/sessions'),
    ],
    [
      'a code with another status',
      (d) => Object.assign(d.components.examples.signed_out.value, { status: 403 }),
      changed('examples/signed_out'),
    ],
    ['a removed parameter', (d) => d.paths['/v1/sessions'].get.parameters.pop(), changed('GET /v1/sessions')],
    ['a removed property', (d) => delete d.components.schemas.SessionResponse.properties.current, changed('schemas/SessionResponse')],
    [
      'a property that is no longer required',
      (d) => d.components.schemas.SessionResponse.required.pop(),
      changed('schemas/SessionResponse'),
    ],
    [
      'a property with the name of a prose field',
      (d) => Object.assign(d.components.schemas.SessionResponse.properties, { title: { type: 'string' } }),
      changed('schemas/SessionResponse'),
    ],
    ['a removed operation', (d) => delete d.paths['/v1/sessions'].get, { ...changed(), removed: ['GET /v1/sessions'] }],
    [
      'an added schema',
      (d) => Object.assign(d.components.schemas, { Other: { type: 'string' } }),
      { ...changed(), added: ['schemas/Other'] },
    ],
  ])('detects %s', (_what, change, expected) => {
    expect(compareAfter(change)).toEqual(expected);
  });
});
