/** Names in our mails are at most this long, in characters. */
const MAX_CHARACTERS = 64;

/** Applied in this order: text that a mail client turns into a link must not hide behind another spelling. */
const REPLACEMENTS: [RegExp, string][] = [
  // Characters that show nothing: zero width, bidi controls, fillers, private use, unassigned.
  [/[\p{Default_Ignorable_Code_Point}\p{Cf}\p{Co}\p{Cn}]/gu, ''],
  [/[\p{Cc}\p{Cs}\u2800]/gu, ' '],
  [/(\p{M}{4})\p{M}+/gu, '$1'],
  [/["“”„‟«»‹›<>]/gu, "'"],
  // Phone numbers.
  [/\+?\d(?:[\s().-]*\d){6,}/gu, '…'],
  // Domains, schemes, paths of file servers, email addresses.
  [/[.。](?=\S)/gu, ' '],
  [/:(?=\S)/gu, ': '],
  [/\/{2,}|\\/gu, ' '],
  [/@(?=\S)/gu, '@ '],
  [/\p{Z}+/gu, ' '],
];

/** Quotes user text in a mail to another person: one line, bounded, nothing invisible and no link. Undefined if nothing is left. */
export function quoteUserText(text: string): string | undefined {
  const plain = REPLACEMENTS.reduce((rest, [pattern, replacement]) => rest.replace(pattern, replacement), text.normalize('NFKC')).trim();
  if (plain === '') return undefined;
  const characters = [...plain];
  return characters.length > MAX_CHARACTERS
    ? `"${characters
        .slice(0, MAX_CHARACTERS - 1)
        .join('')
        .trimEnd()}…"`
    : `"${plain}"`;
}
