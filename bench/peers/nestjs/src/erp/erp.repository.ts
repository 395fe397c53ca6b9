// The only way to PostgreSQL. JSON is made there and passed on as text, never parsed.

import { Inject, Injectable, NotFoundException, type OnModuleDestroy } from '@nestjs/common';
import pg from 'pg';

import { SETTINGS } from '../tokens.js';
import type { Settings } from '../settings.js';
import { statements, type Statement } from './statement.js';

/** Which dashboard. Also what its cache key is made of. */
export interface DashboardQuestion {
  org: string;
  from: string;
  to: string;
  region: string;
}

/** A new order as the client sends it. */
export interface NewOrder {
  customer: number;
  user?: number | null;
  date?: string | null;
  items: { product: number; quantity: number }[];
}

const asText = (value: string) => value;

/** Every column as PostgreSQL's own text: the only one there is, is JSON. */
const TEXT_ONLY = { getTypeParser: () => asText };

@Injectable()
export class ErpRepository implements OnModuleDestroy {
  private readonly readers: pg.Pool;
  private readonly writers: pg.Pool;
  private readonly dashboardStatement: Statement;
  private readonly orderStatements: Statement[];

  constructor(@Inject(SETTINGS) settings: Settings) {
    const connections = Math.ceil(settings.connections / settings.workers);
    // As the origin's two pools: a write does not wait for a connection behind slow reads.
    this.readers = pool(settings.databaseUrl, connections);
    this.writers = pool(settings.databaseUrl, connections);
    [this.dashboardStatement] = statements(settings.sqlFolder, 'dashboard') as [Statement];
    this.orderStatements = statements(settings.sqlFolder, 'create_order');
  }

  /** The dashboard's JSON. */
  async dashboard(question: DashboardQuestion): Promise<string> {
    const { name, text, bind } = this.dashboardStatement;
    const values = bind(question as unknown as Record<string, string>);
    return only(await this.readers.query({ name, text, values, rowMode: 'array' }));
  }

  /** Enters an order in one transaction; answers its JSON once that is committed. */
  async createOrder(org: string, order: NewOrder): Promise<string> {
    const values = {
      org,
      customer: String(order.customer),
      user: order.user?.toString(),
      date: order.date,
      items: JSON.stringify(order.items),
    };
    const connection = await this.writers.connect();
    let failure: Error | undefined;
    try {
      await connection.query('BEGIN');
      let result: pg.QueryArrayResult<string[]> | undefined;
      for (const { name, text, bind } of this.orderStatements) {
        result = await connection.query({ name, text, values: bind(values), rowMode: 'array' });
      }
      const body = only(result);
      await connection.query('COMMIT');
      return body;
    } catch (error) {
      await connection.query('ROLLBACK').catch((broken: Error) => {
        failure = broken;
      });
      throw error;
    } finally {
      connection.release(failure);
    }
  }

  async onModuleDestroy(): Promise<void> {
    await Promise.all([this.readers.end(), this.writers.end()]);
  }
}

function pool(connectionString: string, max: number): pg.Pool {
  const created = new pg.Pool({
    connectionString,
    max,
    idleTimeoutMillis: 0,
    application_name: 'nestjs',
    statement_timeout: 10_000,
    // The origin's setting: on such joins, compiling takes longer than running.
    options: '-c jit=off',
    types: TEXT_ONLY,
  });
  // A connection that breaks while idle is replaced; without a listener it would end the process.
  created.on('error', () => {});
  return created;
}

function only(result: pg.QueryArrayResult<string[]> | undefined): string {
  const text = result?.rows[0]?.[0];
  if (text === undefined) {
    throw new NotFoundException();
  }
  return text;
}
