import pg from 'pg';

// Loaded with --import into the program under measurement: it answers its parent, and exits with it. Plain JavaScript, because Node's type
// stripper would not be in production either.

/** Parse messages sent to PostgreSQL. */
const parsed = { named: 0, unnamed: 0 };
/** Executions of statements on the tables of the rate limit. */
let limiterStatements = 0;

const { parse, bind } = pg.Connection.prototype;
pg.Connection.prototype.parse = function count(query) {
  parsed[query.name ? 'named' : 'unnamed'] += 1;
  this.limiterStatements ??= new Map();
  this.limiterStatements.set(query.name ?? '', query.text.includes('rate_limit'));
  parse.call(this, query);
};
pg.Connection.prototype.bind = function count(config) {
  if (this.limiterStatements?.get(config.statement ?? '')) limiterStatements += 1;
  bind.call(this, config);
};

process.on('disconnect', () => process.exit());
process.on('message', ({ ask }) => {
  if (ask !== 'usage') return;
  const { user, system } = process.cpuUsage();
  process.send({ cpu: user + system, rss: process.memoryUsage.rss(), parsed, limiterStatements });
});
