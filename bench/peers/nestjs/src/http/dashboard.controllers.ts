// `GET /org/:org/dashboard?from&to&region`, once for each mode.

import { CacheInterceptor } from '@nestjs/cache-manager';
import { Controller, Get, Header, Param, Query, Req, Res, UseInterceptors } from '@nestjs/common';
import type { FastifyReply, FastifyRequest } from 'fastify';

import type { CachedAnswer } from '../cache/cached-answer.js';
import { DashboardCache } from '../cache/dashboard-cache.js';
import { ErpRepository } from '../erp/erp.repository.js';

const JSON_TYPE = 'application/json; charset=utf-8';

interface Period {
  from: string;
  to: string;
  region?: string;
}

@Controller()
export class UncachedDashboardController {
  constructor(private readonly repository: ErpRepository) {}

  @Get('org/:org/dashboard')
  @Header('content-type', JSON_TYPE)
  dashboard(@Param('org') org: string, @Query() period: Period): Promise<string> {
    const { from, to, region = 'all' } = period;
    return this.repository.dashboard({ org, from, to, region });
  }
}

/** The same handler behind Nest's own interceptor. What it caches is a string. */
@Controller()
@UseInterceptors(CacheInterceptor)
export class InterceptedDashboardController extends UncachedDashboardController {
  constructor(repository: ErpRepository) {
    super(repository);
  }
}

/** What Nest's documentation shows: a handler answers objects, and so they are what is cached. */
@Controller()
@UseInterceptors(CacheInterceptor)
export class ObjectsDashboardController {
  constructor(private readonly repository: ErpRepository) {}

  @Get('org/:org/dashboard')
  async dashboard(@Param('org') org: string, @Query() period: Period): Promise<object> {
    const { from, to, region = 'all' } = period;
    return JSON.parse(await this.repository.dashboard({ org, from, to, region }));
  }
}

/** Speaks to Fastify itself, without what Nest does for a handler that returns its answer. */
@Controller()
export class ManualDashboardController {
  constructor(private readonly cache: DashboardCache) {}

  @Get('org/:org/dashboard')
  dashboard(
    @Req() request: FastifyRequest<{ Params: { org: string }; Querystring: Period }>,
    @Res() reply: FastifyReply,
  ): void | Promise<void> {
    const { from, to, region = 'all' } = request.query;
    const found = this.cache.get({ org: request.params.org, from, to, region });
    const respond = (answer: CachedAnswer) => {
      reply.header('etag', answer.etag).header('x-cache', answer.cache);
      if (request.headers['if-none-match'] === answer.etag) {
        reply.code(304).send();
      } else {
        reply.header('content-type', JSON_TYPE).send(answer.body);
      }
    };
    return found instanceof Promise ? found.then(respond) : respond(found);
  }
}
