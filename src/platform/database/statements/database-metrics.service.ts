import { Injectable } from '@nestjs/common';
import { Gauge, Histogram } from 'prom-client';
import { Metrics } from '../../metrics/metrics.service.js';
import { Tracing } from '../../tracing/tracing.js';
import type { PipelinedPool } from '../pipeline/pipelined-pool.js';

/** Reports the connections of the pools and the time of their statements, also to traces. */
@Injectable()
export class DatabaseMetrics {
  private readonly pools = new Map<string, PipelinedPool>();
  private readonly seconds: Histogram<'statement'>;
  private readonly children = new Map<string, Histogram.Internal<string>>();

  constructor(
    { registry }: Metrics,
    private readonly tracing: Tracing,
  ) {
    const registers = [registry];
    this.seconds = new Histogram({
      name: 'tenantry_database_statement_seconds',
      help: 'Time of a statement by its name, or by operation and table, with the wait for a connection',
      labelNames: ['statement'],
      registers,
      buckets: [0.001, 0.005, 0.025, 0.1, 0.5, 2.5, 10],
    });
    const { pools } = this;
    for (const [name, help, of] of [
      [
        'tenantry_database_connections_in_use',
        'Connections that a transaction or a statement holds',
        (pool) => pool.totalCount - pool.idleCount,
      ],
      ['tenantry_database_connections_idle', 'Open connections that are free', (pool) => pool.idleCount],
      ['tenantry_database_connections_max', 'The most connections that a pool opens', (pool) => pool.options.max],
      ['tenantry_database_waiting', 'Transactions and statements that wait for a free connection', (pool) => pool.waitingCount],
      ['tenantry_database_shared_statements', 'Prepared statements under way on the shared connections', (pool) => pool.statementsUnderWay],
    ] as [string, string, (pool: PipelinedPool) => number][]) {
      new Gauge({
        name,
        help,
        labelNames: ['pool'],
        registers,
        collect() {
          for (const [pool, one] of pools) this.set({ pool }, of(one));
        },
      });
    }
  }

  watch(name: string, pool: PipelinedPool): void {
    this.pools.set(name, pool);
    this.tracing.watch(pool);
    pool.observe((statement, startedAt) => this.childOf(statement).observe((performance.now() - startedAt) / 1000));
  }

  private childOf(statement: string): Histogram.Internal<string> {
    let child = this.children.get(statement);
    if (child === undefined) this.children.set(statement, (child = this.seconds.labels(statement)));
    return child;
  }
}
