import { Body, Controller, Delete, Get, HttpCode, Param, Post, Query } from '@nestjs/common';
import { Roles } from '../access/access.decorators.js';
import { Caller, CurrentUser, type Principal, type UserPrincipal } from '../access/principal.js';
import { TagDescription } from '../platform/openapi/tags.decorators.js';
import { Problems } from '../platform/problems/problems.decorators.js';
import { InvalidCursor } from '../platform/problems/problems.errors.js';
import { IdPipe } from '../platform/http/id.pipe.js';
import { ListQuery } from '../platform/pagination/list.dto.js';
import { Idempotent, type IdempotentCall, IdempotentRequest } from '../idempotency/idempotency.decorators.js';
import { IdempotencyService } from '../idempotency/idempotency.service.js';
import { ApiKeyListResponse, CreateApiKeyRequest, FreshApiKeyResponse, RotateApiKeyRequest } from './api-keys.dto.js';
import { ApiKeyNotFound } from './api-keys.errors.js';
import { ApiKeysService } from './api-keys.service.js';

@Controller('v1/organizations/:organizationId/api-keys')
@TagDescription('Credentials for machines of an organization.')
export class ApiKeysController {
  constructor(
    private readonly apiKeys: ApiKeysService,
    private readonly idempotency: IdempotencyService,
  ) {}

  /** Creates an API key. Only this response contains the key itself. */
  @Post()
  @Roles('admin')
  @Idempotent()
  async createApiKey(
    @CurrentUser() caller: UserPrincipal,
    @IdempotentRequest() call: IdempotentCall,
    @Param('organizationId', IdPipe) organizationId: string,
    @Body() body: CreateApiKeyRequest,
  ): Promise<FreshApiKeyResponse> {
    return this.idempotency.once(call, async (tx) => FreshApiKeyResponse.of(await this.apiKeys.create(organizationId, body, caller, tx)));
  }

  /** Lists the API keys, newest first, including revoked and expired ones. */
  @Get()
  @Roles('admin')
  @Problems(InvalidCursor)
  async listApiKeys(@Param('organizationId', IdPipe) organizationId: string, @Query() query: ListQuery): Promise<ApiKeyListResponse> {
    return ApiKeyListResponse.of(await this.apiKeys.list(organizationId, query));
  }

  /** Revokes an API key. It is refused from the next request on. */
  @Delete(':apiKeyId')
  @HttpCode(204)
  @Roles('admin')
  @Problems(ApiKeyNotFound)
  async revokeApiKey(
    @Caller() { actor }: Principal,
    @Param('organizationId', IdPipe) organizationId: string,
    @Param('apiKeyId', IdPipe) apiKeyId: string,
  ): Promise<void> {
    await this.apiKeys.revoke(organizationId, apiKeyId, actor);
  }

  /** Replaces an API key. The old one keeps working for a while. */
  @Post(':apiKeyId/rotate')
  @Roles('admin')
  @Idempotent()
  @Problems(ApiKeyNotFound)
  async rotateApiKey(
    @CurrentUser() caller: UserPrincipal,
    @IdempotentRequest() call: IdempotentCall,
    @Param('organizationId', IdPipe) organizationId: string,
    @Param('apiKeyId', IdPipe) apiKeyId: string,
    @Body() { overlapSeconds }: RotateApiKeyRequest,
  ): Promise<FreshApiKeyResponse> {
    return this.idempotency.once(call, async (tx) =>
      FreshApiKeyResponse.of(await this.apiKeys.rotate(organizationId, apiKeyId, overlapSeconds, caller, tx)),
    );
  }
}
