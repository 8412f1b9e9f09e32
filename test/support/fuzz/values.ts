import type { Seeded } from '../../simulators/seeded.js';
import type { FuzzDocument, Schema } from './document.js';

const LONG = 20_000;
const DAY_MS = 86_400_000;
/** Constant for a run, because values must depend on the seed only. */
const TODAY = Math.floor(Date.now() / DAY_MS) * DAY_MS;

/** Texts that often break software. */
export const HOSTILE_TEXTS = [
  '',
  ' ',
  '\u0000',
  'a\u0000b',
  '\ud800',
  '\udc00x',
  '\u200b\u2060',
  '\u202eabc',
  '\ufeff',
  'e\u0301',
  '\u{1f469}\u200d\u{1f4bb}',
  'İıſK',
  '\r\nSet-Cookie: a=b',
  '\u001b[31m',
  'null',
  'undefined',
  'NaN',
  'true',
  '0',
  '-1',
  '1e400',
  '0x10',
  '９',
  '1; DROP TABLE users',
  "' OR ''='",
  '%00',
  '%',
  '..',
  '../../etc/passwd',
  '${7*7}',
  '<script>alert(1)</script>',
  'javascript:alert(1)',
  '//evil.test',
  'https://evil.test/',
  'a@b',
  'jörg@bücher.test',
  '"a b"@example.com',
  '2026-02-30',
  '2026-11-30T24:00:00Z',
  '0001-01-01T00:00:00Z',
  '9999-12-31T23:59:59.999Z',
  '+275760-09-13T00:00:00Z',
  '2026-11-30T12:00:00+14:00',
  '01980a3e-7c1d-7f6a-b1c2-3d4e5f607182',
  '00000000-0000-0000-0000-000000000000',
  '01980A3E-7C1D-7F6A-B1C2-3D4E5F607182',
  '{"a":1}',
  '[]',
  '__proto__',
  'constructor',
  'hasOwnProperty',
  'Asia/Kolkata',
  'Etc/GMT+12',
  'America/../UTC',
  'x'.repeat(256),
  'x'.repeat(1001),
  'ä'.repeat(2000),
];

/** Marks a number that JSON.stringify cannot write. */
const RAW = '\u0001raw:';
const RAW_NUMBERS = [
  '1e400',
  '-1e400',
  '1e-400',
  '123456789012345678901234567890',
  '-0',
  '1.7976931348623157e308',
  '9007199254740993',
  '0.1e1',
];

/** Generates valid, nearly valid and invalid values for a schema, equal for equal seeds. */
export class Values {
  constructor(
    private readonly chance: Seeded,
    private readonly document: FuzzDocument,
  ) {}

  text(): string {
    return this.chance.chance(0.02) ? 'x'.repeat(LONG) : this.chance.pick(HOSTILE_TEXTS);
  }

  /** A value that no schema expects. */
  wrong(depth = 0): unknown {
    const { chance } = this;
    const kinds: (() => unknown)[] = [
      () => null,
      () => this.text(),
      () => this.text(),
      () => `${RAW}${chance.pick(RAW_NUMBERS)}`,
      () => chance.pick([0, -1, 1.5, 2 ** 31, 2 ** 53, -(2 ** 63), 1e21, Number.MAX_SAFE_INTEGER]),
      () => chance.chance(0.5),
      () => [],
      () => ({}),
      () => Array.from({ length: chance.between(1, 30) }, () => (depth > 3 ? null : this.wrong(depth + 1))),
      () => ({ [this.text()]: depth > 3 ? null : this.wrong(depth + 1), toString: 1, __proto: null }),
      () => nested(chance.between(5, 60)),
    ];
    return chance.pick(kinds)();
  }

  /** A valid value with a random choice of optional properties. */
  right(given: Schema, depth = 0): unknown {
    const schema = this.document.resolve(given);
    const { chance } = this;
    const [choice] = schema.allOf ?? [];
    if (choice !== undefined) return this.right(choice, depth);
    const choices = schema.oneOf ?? schema.anyOf;
    if (choices !== undefined) return this.right(chance.pick(choices), depth);
    if (schema.enum !== undefined) return chance.pick(schema.enum);
    const types = [schema.type ?? 'string'].flat();
    switch (chance.pick(types)) {
      case 'null':
        return null;
      case 'boolean':
        return chance.chance(0.5);
      case 'integer':
      case 'number':
        return this.number(schema);
      case 'array':
        return Array.from({ length: chance.between(schema.minItems ?? 0, Math.min(schema.maxItems ?? 3, 3)) }, () =>
          this.right(schema.items ?? {}, depth + 1),
        );
      case 'object':
        return this.object(schema, depth);
      default:
        return this.string(schema);
    }
  }

  /** A valid value with a few errors. */
  nearly(value: unknown): unknown {
    const { chance } = this;
    if (chance.chance(0.2)) return this.wrong();
    if (Array.isArray(value)) {
      if (value.length === 0 || chance.chance(0.2)) return [...value, ...value, this.wrong()];
      const at = chance.between(0, value.length - 1);
      return value.map((one: unknown, index) => (index === at ? this.nearly(one) : one));
    }
    if (typeof value !== 'object' || value === null) return this.wrong();
    const entries = Object.entries(value);
    if (entries.length === 0 || chance.chance(0.2)) return { ...value, [this.text()]: this.wrong() };
    const [name, old] = chance.pick(entries);
    if (chance.chance(0.2)) return Object.fromEntries(entries.filter(([key]) => key !== name));
    return { ...value, [name]: this.nearly(old) };
  }

  /** As JSON, or nearly. */
  json(value: unknown): string {
    return (JSON.stringify(value) ?? 'null').replaceAll(/"\\u0001raw:([^"]*)"/g, '$1');
  }

  private object({ properties = {}, required = [], additionalProperties }: Schema, depth: number): Record<string, unknown> {
    const { chance } = this;
    const chosen = Object.entries(properties).filter(([name]) => required.includes(name) || (depth < 4 && chance.chance(0.4)));
    const own = Object.fromEntries(chosen.map(([name, schema]) => [name, this.right(schema, depth + 1)]));
    if (typeof additionalProperties !== 'object' || depth > 3) return own;
    return { ...own, key: this.right(additionalProperties, depth + 1) };
  }

  private number({ type, minimum = 0, maximum = 1_000_000 }: Schema): number {
    const { chance } = this;
    const edges = [minimum, maximum, minimum + 1, Math.max(minimum, maximum - 1)];
    if (chance.chance(0.4)) return chance.pick(edges);
    const value = minimum + chance.fraction() * (maximum - minimum);
    return type === 'integer' ? Math.floor(value) : value;
  }

  private string({ format, minLength = 0, maxLength = 40, examples }: Schema): string {
    const { chance } = this;
    if (examples !== undefined && chance.chance(0.5)) return String(chance.pick(examples));
    if (format === 'uuid') return chance.uuid();
    if (format === 'email') return `fuzz-${chance.next().toString(36)}@example.com`;
    if (format === 'date-time') return new Date(TODAY + chance.between(-40, 40) * DAY_MS).toISOString();
    if (format === 'uri' || format === 'uri-reference') return chance.pick(['http://localhost:3000/x', '/x', 'https://evil.test/']);
    const length = chance.pick([Math.max(minLength, 1), Math.min(maxLength, 12), maxLength]);
    return Array.from({ length: Math.min(length, 2000) }, () => chance.pick(['a', 'b', '-', '7', 'é'])).join('');
  }
}

function nested(depth: number): unknown {
  let value: unknown = 1;
  for (let index = 0; index < depth; index += 1) value = index % 2 === 0 ? [value] : { a: value };
  return value;
}
