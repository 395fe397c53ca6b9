// What the environment says: the whole configuration of this application.

import { fileURLToPath } from 'node:url';

/** How the dashboard is cached. */
export const MODES = ['uncached', 'interceptor', 'interceptor-objects', 'manual'] as const;
export type Mode = (typeof MODES)[number];

export interface Settings {
  /** On 127.0.0.1; 0 takes a free one. */
  port: number;
  databaseUrl: string;
  redisUrl: string;
  mode: Mode;
  /** How long an answer is cached, in ms. */
  ttlMs: number;
  /** Processes that share the port. With 1 there is no cluster at all. */
  workers: number;
  /** Connections to PostgreSQL for reads in all processes together, and as many for writes. */
  connections: number;
  /** `manual`: answers are kept in the process as well. */
  local: boolean;
  /** `manual`: what an invalidation has overtaken is not stored. See the README. */
  guard: boolean;
  /** Answers have an ETag (@fastify/etag). In `manual` they always do. */
  etag: boolean;
  /** Where dashboard.sql and create_order.sql are. */
  sqlFolder: string;
}

export function settings(environment = process.env): Settings {
  const mode = environment.MODE ?? 'uncached';
  if (!isMode(mode)) {
    throw new Error(`MODE=${mode} is none of ${MODES.join(', ')}`);
  }
  const number = (name: string, otherwise: number, least: number) => {
    const value = Number(environment[name] ?? otherwise);
    if (!Number.isInteger(value) || value < least) {
      throw new Error(`${name}=${environment[name]} is no number from ${least}`);
    }
    return value;
  };
  const needed = (name: string) => {
    const value = environment[name];
    if (!value) {
      throw new Error(`${name} is missing`);
    }
    return value;
  };
  return {
    port: number('PORT', 0, 0),
    databaseUrl: needed('DATABASE_URL'),
    redisUrl: needed('REDIS_URL'),
    mode,
    ttlMs: number('TTL_MS', 1_000, 1),
    workers: number('WORKERS', 1, 1),
    connections: number('CONNECTIONS', 10, 1),
    local: environment.LOCAL === '1',
    guard: environment.GUARD === '1',
    etag: environment.ETAG === '1',
    sqlFolder:
      environment.SQL_FOLDER ??
      fileURLToPath(new URL('../../../../examples/erp/sql', import.meta.url)),
  };
}

function isMode(text: string): text is Mode {
  return (MODES as readonly string[]).includes(text);
}
