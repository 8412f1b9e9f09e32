import { StatementSummaries, summarize } from './statement-summaries.js';

describe('the summary of a statement', () => {
  it.each([
    ['SELECT "id" FROM "users" WHERE "id" = $1 FOR UPDATE', 'SELECT users'],
    ['select 1', 'SELECT'],
    ['commit', 'COMMIT'],
    ['INSERT INTO "outbox" (id) SELECT id FROM unnest($1::uuid[]) ON CONFLICT DO UPDATE SET id = 1', 'INSERT outbox'],
    ['WITH due AS (SELECT id FROM usage_holds FOR NO KEY UPDATE SKIP LOCKED) SELECT * FROM due', 'SELECT usage_holds'],
    ['WITH gone AS (DELETE FROM ONLY "sessions" RETURNING id) SELECT count(*) FROM gone', 'DELETE sessions'],
    ['update "webhook_events" set "status" = $1', 'UPDATE webhook_events'],
    ['SELECT sum(tokens_used) FROM usage_2026_11', 'SELECT usage'],
    ['SELECT given.id FROM unnest($1::uuid[]) AS given JOIN users ON true', 'SELECT'],
  ])('of %s is %s', (text, summary) => {
    expect(summarize(text)).toBe(summary);
  });

  it('is one of a bounded number', () => {
    const summaries = new StatementSummaries(2);
    for (const table of ['a', 'b']) expect(summaries.of(`SELECT 1 FROM ${table}`)).toBe(`SELECT ${table}`);
    expect(summaries.of('SELECT 1 FROM c')).toBe('other');
    expect(summaries.of('SELECT 2 FROM a')).toBe('SELECT a');
  });
});
