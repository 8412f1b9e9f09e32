import fc from 'fast-check';
import { readPlainEvent } from './plain-event.js';
import { checkUsageEvent, parseUsageEvent } from './usage-event.schema.js';
import { fingerprintOf as fingerprint } from './usage-fingerprint.js';

const MOST = Number.MAX_SAFE_INTEGER;
const PERSON = '01980a3e-7c1d-7f6a-b1c2-3d4e5f607182';
const EVENT = { eventId: 'e', model: 'gpt-5-mini', inputTokens: 10, outputTokens: 5 };

const read = (given: unknown) => {
  const answer = parseUsageEvent(given, 'body');
  if ('errors' in answer) throw new Error(JSON.stringify(answer.errors));
  return answer.event;
};
const errorsOf = (given: unknown) => {
  const answer = parseUsageEvent(given, 'body');
  return 'errors' in answer ? answer.errors.map(({ path, message }) => `${path}: ${message}`) : [];
};
/** As the event arrives in a request. */
const parsed = (text: string) => JSON.parse(text) as unknown;
const fingerprintOf = (given: unknown) => {
  const { content, userId } = read(given);
  return fingerprint(content, userId ?? null);
};

describe('an event', () => {
  it('is parsed into its fields', () => {
    expect(read({ ...EVENT, cachedInputTokens: 3, reasoningTokens: 2 })).toMatchObject({
      eventId: 'e',
      model: 'gpt-5-mini',
      inputTokens: 10,
      outputTokens: 5,
      cachedInputTokens: 3,
      reasoningTokens: 2,
      tokensUsed: 20,
      content: expect.any(String),
    });
    const { occurredAt, userId, tokensUsed } = read({
      eventId: 'e',
      model: 'm',
      tokens: 7,
      userId: PERSON.toUpperCase(),
      occurredAt: '2026-03-01T01:00:00+01:00',
    });
    expect({ occurredAt, userId, tokensUsed }).toEqual({ occurredAt: new Date('2026-03-01T00:00:00Z'), userId: PERSON, tokensUsed: 7 });
    expect(read({ eventId: 'e', model: 'm', inputTokens: 0 }).tokensUsed).toBe(0);
    expect(read({ eventId: 'e', model: 'm', tokens: MOST }).tokensUsed).toBe(MOST);
  });

  it.each([
    ['no object', 'rubbish', ['body: body must be an object']],
    ['null', null, ['body: body must be an object']],
    ['a list', [EVENT], ['body: body must be an object']],
    ['no id', { ...EVENT, eventId: undefined }, ['body.eventId: eventId must be a text of 1 to 200 characters']],
    ['an empty id', { ...EVENT, eventId: '' }, ['body.eventId: eventId must be a text of 1 to 200 characters']],
    ['a long id', { ...EVENT, eventId: 'x'.repeat(201) }, ['body.eventId: eventId must be a text of 1 to 200 characters']],
    ['a number as its id', { ...EVENT, eventId: 7 }, ['body.eventId: eventId must be a text of 1 to 200 characters']],
    ['no model', { ...EVENT, model: null }, ['body.model: model must be a text of 1 to 200 characters']],
    ['a person who is none', { ...EVENT, userId: 'ada' }, ['body.userId: userId must be a UUID']],
    ['text as a count', { ...EVENT, inputTokens: '10' }, ['body.inputTokens: inputTokens must be a whole number up to 2^53 - 1']],
    ['half a token', { ...EVENT, inputTokens: 1.5 }, ['body.inputTokens: inputTokens must be a whole number up to 2^53 - 1']],
    ['fewer than none', { ...EVENT, reasoningTokens: -1 }, ['body.reasoningTokens: reasoningTokens must not be negative']],
    [
      'null as a count',
      { ...EVENT, cachedInputTokens: null },
      ['body.cachedInputTokens: cachedInputTokens must be a whole number up to 2^53 - 1'],
    ],
    ['neither classes nor a total', { eventId: 'e', model: 'm' }, [expect.stringMatching(/^body\.tokens: give either tokens, or/)]],
    ['classes and a total', { ...EVENT, tokens: 15 }, [expect.stringMatching(/^body\.tokens: give either tokens, or/)]],
    ['a class of none and a total', { eventId: 'e', model: 'm', inputTokens: 0, tokens: 1 }, [expect.stringMatching(/^body\.tokens: /)]],
    [
      'more than can be counted',
      { ...EVENT, inputTokens: MOST },
      [expect.stringMatching(/^body\.inputTokens: must not be more than 2\^53/)],
    ],
    ['no day', { ...EVENT, occurredAt: '2026-02-30T00:00:00Z' }, [expect.stringMatching(/^body\.occurredAt: occurredAt must be a time/)]],
    ['no zone', { ...EVENT, occurredAt: '2026-03-01T00:00:00' }, [expect.stringMatching(/^body\.occurredAt: occurredAt must be a time/)]],
    ['a leap second', { ...EVENT, occurredAt: '2016-12-31T23:59:60Z' }, [expect.stringMatching(/^body\.occurredAt: occurredAt must be/)]],
    [
      'seconds since 1970',
      { ...EVENT, occurredAt: 1_790_000_000 },
      [expect.stringMatching(/^body\.occurredAt: occurredAt must be a time/)],
    ],
    ['a list as metadata', { ...EVENT, metadata: [1] }, [expect.stringMatching(/^body\.metadata: metadata /)]],
    [
      'nested metadata',
      { ...EVENT, metadata: { a: {} } },
      [expect.stringMatching(/^body\.metadata\.a: a must be a short text, a number or/)],
    ],
    [
      'null in metadata',
      { ...EVENT, metadata: { a: null } },
      [expect.stringMatching(/^body\.metadata\.a: a must be a short text, a number/)],
    ],
    ['long metadata', { ...EVENT, metadata: { a: 'x'.repeat(501) } }, [expect.stringMatching(/^body\.metadata\.a: a /)]],
    ['a nameless entry', { ...EVENT, metadata: { '': 1 } }, [expect.stringMatching(/^body\.metadata/)]],
    [
      'too much metadata',
      { ...EVENT, metadata: Object.fromEntries(Array.from({ length: 21 }, (_, n) => [`k${n}`, n])) },
      ['body.metadata: metadata must have at most 20 entries'],
    ],
    ['a NUL', { ...EVENT, model: 'a\0' }, ['body.model: must not contain NUL characters or lone surrogates']],
    ['half a character', { ...EVENT, metadata: { a: '\ud800' } }, ['body.metadata.a: must not contain NUL characters or lone surrogates']],
    [
      'half a character in a name',
      { ...EVENT, metadata: { '\udc00': 1 } },
      ['body.metadata: must not have names with NUL characters or lone surrogates'],
    ],
    [
      'what nobody knows',
      { ...EVENT, ownerId: 'x', overrun: 1 },
      ['body.ownerId: property ownerId should not exist', 'body.overrun: property overrun should not exist'],
    ],
  ])('with %s is refused, and the error names each mistake', (_, given, errors) => {
    expect(errorsOf(given)).toEqual(errors);
  });

  it('reports every mistake at once', () => {
    const errors = errorsOf({
      eventId: '',
      model: 3,
      inputTokens: -1,
      outputTokens: '2',
      userId: 1,
      occurredAt: 'x',
      metadata: 1,
      more: 1,
    });
    expect(errors.map((error) => error.split(':', 1)[0]).sort()).toEqual([
      'body.eventId',
      'body.inputTokens',
      'body.metadata',
      'body.model',
      'body.more',
      'body.occurredAt',
      'body.outputTokens',
      'body.userId',
    ]);
  });

  it.each(['1e400', '-1e400', '9007199254740992', '9223372036854775808', '1e16'])('refuses a count of %s', (count) => {
    expect(errorsOf(parsed(`{"eventId":"e","model":"m","tokens":${count}}`))).toEqual([expect.stringMatching(/^body\.tokens: tokens /)]);
    expect(errorsOf(parsed(`{"eventId":"e","model":"m","inputTokens":${count}}`))).toContainEqual(
      expect.stringMatching(/^body\.inputTokens/),
    );
  });

  it.each(['1e400', '-1e400'])('refuses metadata of %s', (value) => {
    expect(errorsOf(parsed(`{"eventId":"e","model":"m","tokens":1,"metadata":{"a":${value}}}`))).toEqual([
      expect.stringMatching(/^body\.metadata\.a: a /),
    ]);
  });

  it('refuses __proto__, and keeps the metadata keys constructor and toString as data', () => {
    expect(errorsOf(parsed('{"eventId":"e","model":"m","tokens":1,"__proto__":{"a":1}}'))).toEqual([expect.stringMatching(/__proto__/)]);
    expect(errorsOf(parsed('{"eventId":"e","model":"m","tokens":1,"metadata":{"__proto__":1}}'))).toEqual([
      'body.metadata.__proto__: property __proto__ should not exist',
    ]);
    const { metadata } = read(parsed('{"eventId":"e","model":"m","tokens":1,"metadata":{"constructor":2,"toString":3}}'));
    expect(Object.entries(metadata!)).toEqual(Object.entries({ constructor: 2, toString: 3 }));
    expect(Object.getPrototypeOf(metadata)).toBe(Object.prototype);
  });

  it('never throws, whatever the body is', () => {
    const field = fc.oneof(fc.jsonValue(), fc.anything({ withBigInt: true, withDate: true, withMap: true, withNullPrototype: true }));
    const names = fc.constantFrom(
      'eventId',
      'model',
      'tokens',
      'inputTokens',
      'userId',
      'occurredAt',
      'metadata',
      'constructor',
      'toString',
    );
    fc.assert(
      fc.property(fc.oneof(field, fc.dictionary(names, field)), (given) => {
        const answer = parseUsageEvent(given, 'body');
        expect('errors' in answer ? answer.errors.length : 1).toBeGreaterThan(0);
      }),
      { numRuns: 500 },
    );
  });
});

describe('reading an event without the schema', () => {
  const counts = fc.oneof(fc.maxSafeNat(), fc.constantFrom(0, -0, -1, 1.5, MOST, MOST + 1, null, '1', undefined, true));
  const texts = fc.oneof(
    fc.string({ unit: 'grapheme', maxLength: 5 }),
    fc.string({ unit: 'binary', maxLength: 5 }),
    fc.constantFrom('', 'gpt-5-mini', ' m', 'm ', 'a\0', '\ud800', 'é', 'e\u0301', 'a\u200bb', 'x'.repeat(200), 'x'.repeat(201), 7, null),
  );
  const times = fc.oneof(
    fc.date({ noInvalidDate: true }).map((date) => date.toISOString()),
    fc.constantFrom('2026-03-01', '2026-03-01T00:00:00+02:00', '2026-02-30T00:00:00Z', '2026-03-01t00:00z', '', 1_790_000_000, null),
  );
  const metadata = fc.oneof(
    fc.dictionary(fc.string({ maxLength: 101 }), fc.oneof(fc.string(), fc.double(), fc.boolean(), fc.jsonValue()), { maxKeys: 21 }),
    fc.jsonValue(),
    fc.constant(JSON.parse('{"__proto__":1,"constructor":2}') as unknown),
  );
  const fields = {
    eventId: texts,
    userId: fc.oneof(fc.uuid(), fc.constantFrom(PERSON.toUpperCase(), 'ada', null)),
    model: texts,
    inputTokens: counts,
    outputTokens: counts,
    cachedInputTokens: counts,
    reasoningTokens: counts,
    tokens: counts,
    occurredAt: times,
    metadata,
  };

  it('accepts nothing that the schema refuses, and reads the same', () => {
    const odd = { ownerId: fc.constant('x'), constructor: fc.constant(1), ['__proto__']: fc.constant(1) };
    const sent = fc.oneof(
      fc.record(fields, { requiredKeys: ['eventId', 'model'] }),
      fc.record(
        { ...fields, eventId: fc.constant('e'), model: fc.constant('m'), inputTokens: fc.nat() },
        { requiredKeys: ['inputTokens'] },
      ),
      fc.record({ ...fields, ...odd }, { requiredKeys: [] }),
      fc.anything(),
    );
    fc.assert(
      fc.property(sent, (given) => {
        const plain = readPlainEvent(given);
        expect(plain && checkUsageEvent(given, 'body')).toEqual(plain && { event: plain });
      }),
      { numRuns: 2000 },
    );
  });

  it('accepts what nearly every caller sends', () => {
    const sent = fc.record(
      {
        eventId: fc.string({ unit: 'grapheme', minLength: 1, maxLength: 20 }),
        model: fc.constantFrom('gpt-5-mini', 'modèle'),
        inputTokens: fc.nat(),
        outputTokens: fc.nat(),
        userId: fc.uuid(),
        occurredAt: fc.date({ min: new Date(0), max: new Date('9999-12-31'), noInvalidDate: true }).map((date) => date.toISOString()),
        metadata: fc.dictionary(fc.stringMatching(/^[a-z]{1,9}$/), fc.oneof(fc.string({ unit: 'grapheme' }), fc.integer(), fc.boolean())),
      },
      { requiredKeys: ['eventId', 'model', 'inputTokens'] },
    );
    fc.assert(
      fc.property(sent, (given) => {
        const json = parsed(JSON.stringify(given));
        expect(readPlainEvent(json)).toEqual(read(json));
        expect({ event: readPlainEvent(json) }).toEqual(checkUsageEvent(json, 'body'));
      }),
    );
  });
});

describe('the fingerprint of an event', () => {
  const expectSame = (...texts: string[]) => expect(new Set(texts.map((text) => fingerprintOf(parsed(text)))).size).toBe(1);

  it('is the same for every spelling of the same event', () => {
    expectSame(
      '{"eventId":"e","model":"m","inputTokens":1000,"outputTokens":0}',
      '{"outputTokens":-0,"inputTokens":1e3,"model":"m","eventId":"e"}',
      '{"eventId":"e","model":"m","inputTokens":1000.0}',
      '{"eventId":"e","model":"\\u006d","inputTokens":1000,"cachedInputTokens":0,"reasoningTokens":0,"metadata":{}}',
    );
    expectSame(
      '{"eventId":"e","model":"m","tokens":0,"metadata":{"a":1,"b":"é"}}',
      '{"eventId":"e","model":"m","tokens":-0,"metadata":{"b":"\\u00e9","a":1.0}}',
    );
    expectSame(
      `{"eventId":"e","model":"m","tokens":1,"userId":"${PERSON}","occurredAt":"2026-03-01T00:00:00Z"}`,
      `{"eventId":"e","model":"m","tokens":1,"userId":"${PERSON.toUpperCase()}","occurredAt":"2026-03-01T02:00:00.000+02:00"}`,
    );
  });

  it('differs for any other content', () => {
    const others = [
      EVENT,
      { model: 'gpt-5' },
      { inputTokens: 11 },
      { inputTokens: 5, outputTokens: 10 },
      { cachedInputTokens: 1 },
      { userId: PERSON },
      { occurredAt: '2026-03-01T00:00:00Z' },
      { occurredAt: '2026-03-01T00:00:00.001Z' },
      { metadata: { a: 1 } },
      { metadata: { a: '1' } },
      { metadata: { a: true } },
      { metadata: { a: 'true' } },
      { metadata: { b: 1 } },
      // Not made one, nor taken apart.
      { metadata: { a: 'é' } },
      { metadata: { a: 'e\u0301' } },
      { metadata: { a: 1, b: 2 } },
      { metadata: { b: 1, a: 2 } },
    ].map((fields) => fingerprintOf({ ...EVENT, ...fields }));
    others.push(fingerprintOf({ eventId: 'e', model: 'gpt-5-mini', tokens: 15 }));
    expect(new Set(others).size).toBe(others.length);
  });
});
