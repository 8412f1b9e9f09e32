import { ApiProperty } from '@nestjs/swagger';
import { Transform } from 'class-transformer';
import { IsBoolean } from 'class-validator';
import { booleanOf } from '../platform/http/bodies/transforms.js';

export class DeleteOwnerQuery {
  /** Whether to cancel a paid subscription too. Without it, a paid subscription prevents the deletion. @example true */
  @ApiProperty({ required: false, default: false })
  @Transform(booleanOf)
  @IsBoolean()
  cancelSubscription: boolean = false;
}
