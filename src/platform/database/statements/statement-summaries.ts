const MOST_TEXTS = 1000;
const MOST_SUMMARIES = 300;
/** A text with one parameter for each row would fill the memory. */
const LONGEST_TEXT = 4000;

const WRITE = /\b(insert into|delete from|(?<!\b(?:do|for|key)\s+)update)\s+(?:only\s+)?"?(\w+)/i;
const READ = /\bfrom\s+(?:only\s+)?"?([a-z_]\w*)\b(?!\()/i;
const PARTITION = /_\d{4}_\d{2}$/;

/** A statement without its values, such as `SELECT users`. */
export function summarize(text: string): string {
  const [, verb, written] = WRITE.exec(text) ?? [];
  if (written !== undefined) return `${verb!.split(' ', 1)[0]!.toUpperCase()} ${written.replace(PARTITION, '')}`;
  const [, read] = READ.exec(text) ?? [];
  const [first = ''] = /^\s*\w+/.exec(text) ?? [];
  return read === undefined ? first.trim().toUpperCase() : `SELECT ${read.replace(PARTITION, '')}`;
}

/** Summaries of statements, bounded in number, because each becomes a label. */
export class StatementSummaries {
  private readonly byText = new Map<string, string>();
  private readonly known = new Set<string>();

  constructor(private readonly most = MOST_SUMMARIES) {}

  of(text: string): string {
    const known = this.byText.get(text);
    if (known !== undefined) return known;
    const summary = this.bounded(summarize(text.slice(0, LONGEST_TEXT)));
    if (this.byText.size >= MOST_TEXTS) this.byText.clear();
    if (text.length <= LONGEST_TEXT) this.byText.set(text, summary);
    return summary;
  }

  private bounded(summary: string): string {
    if (!this.known.has(summary) && this.known.size >= this.most) return 'other';
    this.known.add(summary);
    return summary;
  }
}
