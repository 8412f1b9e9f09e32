import pg from 'pg';

// Loaded with --import into the program under measurement: it answers its parent, and exits with it. Plain JavaScript, because Node's type
// stripper would not be in production either.

/** Parse messages sent to PostgreSQL. */
const parsed = { named: 0, unnamed: 0 };
const { parse } = pg.Connection.prototype;
pg.Connection.prototype.parse = function count(query) {
  parsed[query.name ? 'named' : 'unnamed'] += 1;
  parse.call(this, query);
};

process.on('disconnect', () => process.exit());
process.on('message', ({ ask }) => {
  if (ask !== 'usage') return;
  const { user, system } = process.cpuUsage();
  process.send({ cpu: user + system, rss: process.memoryUsage.rss(), parsed });
});
