import KeyvRedis from '@keyv/redis';
import { CacheModule } from '@nestjs/cache-manager';
import { Module, type DynamicModule, type Provider, type Type } from '@nestjs/common';
import { Keyv } from 'keyv';

import { DashboardCache } from './cache/dashboard-cache.js';
import { ErpRepository } from './erp/erp.repository.js';
import {
  InterceptedDashboardController,
  ManualDashboardController,
  ObjectsDashboardController,
  UncachedDashboardController,
} from './http/dashboard.controllers.js';
import { OrdersController } from './http/orders.controller.js';
import type { Mode, Settings } from './settings.js';
import { SETTINGS } from './tokens.js';

const DASHBOARD: Record<Mode, Type> = {
  uncached: UncachedDashboardController,
  interceptor: InterceptedDashboardController,
  'interceptor-objects': ObjectsDashboardController,
  manual: ManualDashboardController,
};

@Module({})
export class AppModule {
  static with(settings: Settings): DynamicModule {
    const { mode, redisUrl, ttlMs } = settings;
    const providers: Provider[] = [{ provide: SETTINGS, useValue: settings }, ErpRepository];
    if (mode === 'manual') {
      providers.push(DashboardCache);
    }
    return {
      module: AppModule,
      imports:
        mode.startsWith('interceptor')
          ? [CacheModule.register({ stores: [store(mode, redisUrl)], ttl: ttlMs })]
          : [],
      controllers: [DASHBOARD[mode], OrdersController],
      providers,
    };
  }
}

/** In a namespace of its own: what one mode caches is nothing for another. The store's prefix says it once. */
function store(mode: Mode, redisUrl: string): Keyv {
  return new Keyv({ store: new KeyvRedis(redisUrl), namespace: mode, useKeyPrefix: false });
}
