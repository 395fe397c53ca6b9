// One process of the application.

import 'reflect-metadata';

import etag from '@fastify/etag';
import { HttpAdapterHost, NestFactory } from '@nestjs/core';
import { FastifyAdapter, type NestFastifyApplication } from '@nestjs/platform-fastify';

import { AppModule } from './app.module.js';
import { RefusalFilter } from './http/refusal.filter.js';
import type { Settings } from './settings.js';

/** Serves until the process ends; answers the URL. */
export async function serve(settings: Settings): Promise<string> {
  const app = await NestFactory.create<NestFastifyApplication>(
    AppModule.with(settings),
    new FastifyAdapter({ logger: false, skipMiddie: true }),
    { logger: ['error', 'fatal'] },
  );
  app.useGlobalFilters(new RefusalFilter(app.get(HttpAdapterHost).httpAdapter));
  if (settings.etag && settings.mode !== 'manual') {
    await app.register(etag as never);
  }
  await app.listen(settings.port, '127.0.0.1');
  return app.getUrl();
}
