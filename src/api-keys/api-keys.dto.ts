import { ApiProperty, ApiSchema } from '@nestjs/swagger';
import { ArrayMaxSize, ArrayNotEmpty, IsArray, IsInt, IsOptional, Max, Min } from 'class-validator';
import type { Scope } from '../access/scopes.js';
import { SCOPE_FORMAT } from '../platform/openapi/schemas.js';
import type { Page } from '../platform/pagination/cursors.service.js';
import { IsDisplayName } from '../platform/text/display-names.js';
import { IsEndTime } from '../platform/time/is-time.js';
import type { ApiKey } from './api-keys.table.js';
import { IsScope } from './api-keys.decorators.js';
import type { FreshApiKey } from './api-keys.service.js';

const SCOPE_LIST = {
  type: 'array',
  items: { type: 'string', format: SCOPE_FORMAT },
  description: 'The scopes of the key.',
  example: ['usage:write'],
} as const;
const MAX_SCOPES = 100;
const WEEK_SECONDS = 7 * 86_400;

@ApiSchema({ description: 'A new API key.' })
export class CreateApiKeyRequest {
  /** A name to recognise the key by. @example "Billing worker" */
  @IsDisplayName(100)
  name!: string;

  /** The scopes of the key. */
  @ApiProperty({ ...SCOPE_LIST, minItems: 1 })
  @IsArray()
  @ArrayNotEmpty()
  @ArrayMaxSize(MAX_SCOPES)
  @IsScope({ each: true })
  scopes!: Scope[];

  /** When the key expires; never if omitted or null. The time must have a zone; a day alone is refused. @example "2027-01-01T00:00:00Z" */
  @IsOptional()
  @IsEndTime()
  expiresAt?: Date | null;
}

@ApiSchema({ description: 'How to rotate a key.' })
export class RotateApiKeyRequest {
  /** How long the old key still works. @example 86400 */
  @IsInt()
  @Min(0)
  @Max(WEEK_SECONDS)
  @ApiProperty({ type: 'integer' })
  overlapSeconds: number = 86_400;
}

@ApiSchema({ description: 'A key, without its secret.' })
export class ApiKeyResponse {
  /** The key (not its secret). @example "01980a3e-7c1d-7f6a-b1c2-3d4e5f607182" */
  @ApiProperty({ format: 'uuid' })
  id!: string;

  /** A name to recognise the key by. @example "Billing worker" */
  name!: string;

  /** The beginning of the key. @example "tnt_live_9fK2xQ" */
  prefix!: string;

  /** The scopes of the key. */
  @ApiProperty(SCOPE_LIST)
  scopes!: Scope[];

  /** The user who created it. @example "01980a3e-7c1d-7f6a-b1c2-3d4e5f607182" */
  createdBy!: string;

  /** When it expires. */
  expiresAt!: Date | null;

  /** When it was last used, to the minute. */
  lastUsedAt!: Date | null;

  /** When it was or will be revoked: a rotated key stays valid for the overlap. */
  revokedAt!: Date | null;

  /** When it was created. */
  createdAt!: Date;

  static of({ id, name, prefix, scopes, createdBy, expiresAt, lastUsedAt, revokedAt, createdAt }: ApiKey): ApiKeyResponse {
    return { id, name, prefix, scopes, createdBy, expiresAt, lastUsedAt, revokedAt, createdAt };
  }
}

@ApiSchema({ description: 'A new key with its secret, which is returned only once.' })
export class FreshApiKeyResponse extends ApiKeyResponse {
  /** The key itself. Only this response contains it. @example "tnt_live_9fK2xQ7mVb4nZc8pLs1dTg5hJr3wYe6uAk0iOxQz" */
  key!: string;

  static override of(fresh: FreshApiKey): FreshApiKeyResponse {
    return { ...ApiKeyResponse.of(fresh), key: fresh.key };
  }
}

@ApiSchema({ description: 'A page of keys.' })
export class ApiKeyListResponse {
  /** The page. */
  data!: ApiKeyResponse[];

  /** Ask for the next page with it; null on the last one. @example "WyIyMDI2LTAxLTE1Il0.q83vEjRWeJCrze8SNFZ4kA" */
  nextCursor!: string | null;

  static of({ data, nextCursor }: Page<ApiKey>): ApiKeyListResponse {
    return { data: data.map(ApiKeyResponse.of), nextCursor };
  }
}
