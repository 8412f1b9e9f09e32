import pg from 'pg';

export default async function tearDown(): Promise<void> {
  const client = new pg.Client({ connectionString: process.env['TEST_SERVER_URL'] });
  await client.connect();
  await client.query(`DROP DATABASE IF EXISTS ${process.env['TEST_TEMPLATE']} WITH (FORCE)`);
  await client.query(`DROP ROLE IF EXISTS ${new URL(process.env['TEST_APP_URL']!).username}`);
  await client.end();
  await (globalThis as { stopPostgres?: () => Promise<void> }).stopPostgres?.();
}
