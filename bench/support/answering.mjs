import pg from 'pg';

// Loaded with --import before the program under measurement: it answers its parent and goes when that goes.
// Plain JavaScript, so that the program does not carry Node's type stripper along, which it would not in production.

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
