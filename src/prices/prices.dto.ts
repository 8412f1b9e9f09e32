import { ApiProperty, ApiSchema } from '@nestjs/swagger';
import { Type } from 'class-transformer';
import {
  ArrayMaxSize,
  ArrayMinSize,
  IsArray,
  IsIn,
  IsInt,
  IsObject,
  IsOptional,
  IsString,
  Length,
  Matches,
  Max,
  Min,
  ValidateIf,
  ValidateNested,
} from 'class-validator';
import type { Page } from '../platform/pagination/cursors.service.js';
import { IsIdentifierText } from '../platform/text/display-names.js';
import { IsTime } from '../platform/time/is-time.js';
import { ListQuery } from '../platform/pagination/list.dto.js';
import { whenGiven } from '../platform/http/bodies/transforms.js';
import type { NewPrice } from './prices.service.js';
import type { Price, TokenClass } from './prices.table.js';

/** The names of the classes in the API. */
const CLASSES = {
  input: 'input',
  output: 'output',
  cachedInput: 'cached_input',
  reasoning: 'reasoning',
  total: 'total',
} as const satisfies Record<string, TokenClass>;
type ClassName = keyof typeof CLASSES;
const CLASS_NAMES = Object.keys(CLASSES) as ClassName[];

export class ListPricesQuery extends ListQuery {
  /** Only prices of this model. @example "gpt-5-mini" */
  @IsOptional()
  @IsString()
  @Length(1, 200)
  model?: string;

  /** Only prices in force at this time; all prices if omitted. A day alone starts at midnight UTC. @example "2026-01-01T00:00:00Z" */
  @IsOptional()
  @IsTime()
  at?: Date;
}

@ApiSchema({ description: 'The price of a million tokens of a model from an hour on.' })
export class PriceRequest {
  /** The model, as in usage events. @example "gpt-5-mini" */
  @IsString()
  @Length(1, 200)
  @IsIdentifierText()
  model!: string;

  /** The token class. `total` prices events that have only a plain total. */
  @ApiProperty({ enum: CLASS_NAMES, example: 'cachedInput' })
  @IsIn(CLASS_NAMES)
  tokenClass!: ClassName;

  /** Millionths of the currency’s unit for a million tokens: 2.50 USD are 2500000. @example 2500000 */
  @ApiProperty({ type: 'integer' })
  @IsInt()
  @Min(0)
  @Max(Number.MAX_SAFE_INTEGER)
  microsPerMillion!: number;

  /** ISO 4217. All prices have one currency. If omitted: the currency of the existing prices, or USD. @example "USD" */
  @ValidateIf(whenGiven)
  @Matches(/^[A-Z]{3}$/, { message: '$property must be three capital letters, as in USD' })
  currency?: string;

  /** The first hour of the price, in UTC; the current hour if omitted. A day alone starts at midnight UTC. @example "2026-01-01T00:00:00Z" */
  @ValidateIf(whenGiven)
  @IsTime()
  effectiveFrom?: Date;

  static toNewPrice({ tokenClass, ...price }: PriceRequest): NewPrice {
    return { ...price, tokenClass: CLASSES[tokenClass] };
  }
}

@ApiSchema({ description: 'Prices to set. A price of the same model, class and hour is replaced; all others stay.' })
export class SetPricesRequest {
  /** The prices. */
  @IsArray()
  @ArrayMinSize(1)
  @ArrayMaxSize(200)
  @IsObject({ each: true })
  @ValidateNested({ each: true })
  @Type(() => PriceRequest)
  prices!: PriceRequest[];
}

@ApiSchema({ description: 'The price of a million tokens of a model from an hour on, until the next price of the same model and class.' })
export class PriceResponse {
  /** The model, as in usage events. @example "gpt-5-mini" */
  model!: string;

  /** The token class. `total` prices events that have only a plain total. */
  @ApiProperty({ enum: CLASS_NAMES, example: 'cachedInput' })
  tokenClass!: ClassName;

  /** Millionths of the currency’s unit for a million tokens: 2.50 USD are 2500000. @example 2500000 */
  @ApiProperty({ type: 'integer' })
  microsPerMillion!: number;

  /** ISO 4217. @example "USD" */
  currency!: string;

  /** The first hour of the price. @example "2026-01-01T00:00:00.000Z" */
  @ApiProperty({ format: 'date-time' })
  effectiveFrom!: Date;

  static of({ model, tokenClass, microsPerMillion, currency, effectiveFrom }: Price): PriceResponse {
    const name = CLASS_NAMES.find((candidate) => CLASSES[candidate] === tokenClass)!;
    return { model, tokenClass: name, microsPerMillion, currency, effectiveFrom };
  }
}

@ApiSchema({ description: 'A page of prices.' })
export class PriceListResponse {
  /** The prices, by model, class and time. */
  data!: PriceResponse[];

  /** Ask for the next page with it; null on the last one. @example "WyIyMDI2LTAxLTE1Il0.q83vEjRWeJCrze8SNFZ4kA" */
  nextCursor!: string | null;

  static of({ data, nextCursor }: Page<Price>): PriceListResponse {
    return { data: data.map(PriceResponse.of), nextCursor };
  }
}

@ApiSchema({ description: 'The prices that were set.' })
export class SetPricesResponse {
  /** The prices, in the order of the request. */
  prices!: PriceResponse[];

  static of(prices: Price[]): SetPricesResponse {
    return { prices: prices.map(PriceResponse.of) };
  }
}
