import pg from 'pg';

type Statement = pg.QueryConfig & { name: string; types?: pg.CustomTypesConfig; rowMode?: string };

interface Description {
  fields: pg.FieldDef[];
  _parsers: unknown[];
  _prebuiltEmptyResultObject: object;
}

/** The parts of a query of `pg` that its types leave out. */
interface Query extends pg.Submittable {
  name: string;
  values: unknown[] | undefined;
  callback: (error: Error | null, result: pg.QueryResult) => void;
  _accumulateRows: boolean;
  _result: pg.QueryResult & Description;
  _results: pg.QueryResult;
  prepare(connection: Connection): void;
  handleRowDescription(message: object): void;
}

interface Connection {
  stream: NodeJS.WritableStream;
  bind(config: object): void;
}

const Query = pg.Query as unknown as new (config: string, values: unknown[] | undefined) => Query;
const { Result, utils } = pg as unknown as {
  Result: new (rowMode: unknown, types: unknown) => Query['_result'];
  utils: { prepareValue: (value: unknown) => unknown };
};

const EXECUTE_AND_SYNC = Buffer.from([...Buffer.from('E'), 0, 0, 0, 9, 0, 0, 0, 0, 0, ...Buffer.from('S'), 0, 0, 0, 4]);

/** Each connection keeps the columns of its statements. PostgreSQL refuses a prepared statement whose columns have changed. */
const descriptions = new WeakMap<Connection, Map<string, Description>>();

/**
 * A named statement. In contrast to the query of `pg`, it does not copy its configuration, and it asks once a
 * connection for the description of its columns, which costs both sides more than a row (docs/decisions/0002).
 */
export class PipelinedStatement extends Query {
  private connection: Connection | undefined;

  constructor(statement: Statement, values: unknown[] | undefined, callback: Query['callback']) {
    super(statement.text, values ?? statement.values);
    this.name = statement.name;
    this.callback = callback;
    this['_result'] = this['_results'] = new Result(statement.rowMode, statement.types);
  }

  override prepare(connection: Connection): void {
    const description = descriptions.get(connection)?.get(this.name);
    if (description === undefined || !this.sendValues(connection)) {
      this.connection = connection;
      super.prepare(connection);
      return;
    }
    connection.stream.write(EXECUTE_AND_SYNC);
    Object.assign(this['_result'], description);
    this['_accumulateRows'] = true;
  }

  override handleRowDescription(message: object): void {
    super.handleRowDescription(message);
    const { fields, _parsers, _prebuiltEmptyResultObject } = this['_result'];
    const known = descriptions.get(this.connection!) ?? new Map<string, Description>();
    descriptions.set(this.connection!, known.set(this.name, { fields, _parsers, _prebuiltEmptyResultObject }));
  }

  /** Returns whether they could be written. If not, `pg` reports the reason. */
  private sendValues(connection: Connection): boolean {
    try {
      connection.bind({ statement: this.name, values: this.values, valueMapper: utils.prepareValue });
      return true;
    } catch {
      return false;
    }
  }
}
