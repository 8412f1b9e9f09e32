import setUp from '../support/global-setup.js';
import tearDown from '../support/global-teardown.js';
import { readOptions } from './options.js';
import { FaultyPostgres } from './stage/postgres.js';

const options = readOptions();
const postgres = await FaultyPostgres.start();
try {
  // The template and the roles are made on our server instead of one of its own.
  process.env['DATABASE_URL'] = postgres.url;
  await setUp();
  const { runFaults } = await import('./run-faults.js');
  process.exitCode = await runFaults(postgres, options);
  await tearDown();
} finally {
  await postgres.stop();
}
