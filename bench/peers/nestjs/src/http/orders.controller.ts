// `POST /org/:org/orders`

import { Body, Controller, Header, Optional, Param, Post } from '@nestjs/common';

import { DashboardCache } from '../cache/dashboard-cache.js';
import { ErpRepository, type NewOrder } from '../erp/erp.repository.js';

@Controller()
export class OrdersController {
  constructor(
    private readonly repository: ErpRepository,
    /** Where there is one, it is invalidated before the client has its answer. */
    @Optional() private readonly cache?: DashboardCache,
  ) {}

  @Post('org/:org/orders')
  @Header('content-type', 'application/json; charset=utf-8')
  async create(@Param('org') org: string, @Body() order: NewOrder): Promise<string> {
    const created = await this.repository.createOrder(org, order);
    await this.cache?.invalidate(org);
    return created;
  }
}
