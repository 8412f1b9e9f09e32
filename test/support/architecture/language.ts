/**
 * Phrases that comments and docs must not use: the code was once written in a dialect that newcomers had to decode.
 * Add a phrase when you find one. Remove one only with a reason.
 */
const DIALECT: readonly RegExp[] = [
  /who(so)?ever|whom(ever)?/,
  // "a subscription whose owner was deleted" is plain English, a question with this word is not.
  /(?:says?|shows?|knows?|tells?|decides?|and|or|by|of|for) whose|whose (?:an?|it|this|they|something)/,
  /thereof|therein|thereby|whereof/,
  /that which|those (?:who|whom)|they who|who has it/,
  /(?:is|are|was|were|be|been) told(?! apart)/,
  /(?:tell|tells|telling|told) of/,
  /(?:stand|stands|standing|stood) (?:in|on)/,
  /(?:bring|brings|bringing|brought) (?:it |them |that )?about/,
  /(?:is|are|was|were) none of/,
  /nobody's|somebody's|anybody's|everybody's/,
  /what (?:is|was|are|were|has|had|it|they|comes|came|goes|went|becomes|became|came of)/,
  /(?:answer|answers|answered) (?:the|an?|what|whether|null|undefined)/,
  /gone with/,
  // "no more than 100" is plain English.
  /no more(?! than)/,
  /as ever/,
  /(?:begins?|made|settled|read) anew/,
  /gives? way to/,
];

const ANY = new RegExp(`\\b(?:${DIALECT.map(({ source }) => source).join('|')})\\b`, 'gi');

/** The dialect phrases in a text, in the order they appear. A phrase is also found across a line break of a comment. */
export const dialectIn = (text: string): string[] => [...text.replace(/\s+(?:\*|\/\/)?\s*/g, ' ').matchAll(ANY)].map(([phrase]) => phrase);

/** The prose of a Markdown page, without code and link targets. */
export const proseOf = (markdown: string): string =>
  markdown
    .replace(/^```[\s\S]*?^```/gm, ' ')
    .replace(/`[^`\n]*`/g, '`')
    .replace(/\]\([^)]*\)/g, ']');
