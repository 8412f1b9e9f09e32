import { ApiProperty } from '@nestjs/swagger';
import { Transform } from 'class-transformer';
import { IsInt, IsOptional, IsString, Max, MaxLength, Min } from 'class-validator';
import { integerOf } from '../http/bodies/transforms.js';

/** The query parameters of every list. */
export class ListQuery {
  /** How many at most. @example 25 */
  @ApiProperty({ type: 'integer', required: false })
  @Transform(integerOf)
  @IsInt({ message: '$property must be a whole number in digits' })
  @Min(1)
  @Max(100)
  limit: number = 25;

  /** `nextCursor` of the page before. */
  @IsOptional()
  @IsString()
  @MaxLength(1000)
  cursor?: string;
}
