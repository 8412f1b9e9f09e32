import { Body, Controller, Get, Put, Query } from '@nestjs/common';
import { Operator, SignedIn } from '../access/access.decorators.js';
import { Caller, type Principal } from '../access/principal.js';
import { TagDescription } from '../platform/openapi/tags.decorators.js';
import { Problems } from '../platform/problems/problems.decorators.js';
import { InvalidCursor } from '../platform/problems/problems.errors.js';
import { ListPricesQuery, PriceListResponse, PriceRequest, SetPricesRequest, SetPricesResponse } from './prices.dto.js';
import { OtherCurrency } from './prices.errors.js';
import { PricesService } from './prices.service.js';

@Controller('v1/prices')
@TagDescription('The price book: prices of tokens by model and class. Operators set them.')
export class PricesController {
  constructor(private readonly prices: PricesService) {}

  /** Lists the prices of tokens, by model, class and time. */
  @Get()
  @SignedIn()
  @Problems(InvalidCursor)
  async listPrices(@Query() query: ListPricesQuery): Promise<PriceListResponse> {
    return PriceListResponse.of(await this.prices.list(query));
  }

  /** Sets prices, also for past times: reports use the current price book. */
  @Put()
  @Operator()
  @Problems(OtherCurrency)
  async setPrices(@Caller() { actor }: Principal, @Body() { prices }: SetPricesRequest): Promise<SetPricesResponse> {
    return SetPricesResponse.of(await this.prices.set(prices.map(PriceRequest.toNewPrice), actor));
  }
}
