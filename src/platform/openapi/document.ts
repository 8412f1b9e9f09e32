import type { INestApplication } from '@nestjs/common';
import type { Request, Response } from 'express';
import { DocumentBuilder, type OpenAPIObject, SwaggerModule } from '@nestjs/swagger';
import { problemResponses } from '../problems/problems.decorators.js';
import { ProblemResponse } from '../problems/problem.dto.js';
import { type AccessRules, completeOperations } from './operations.js';
import { completeSchemas } from './schemas.js';
import { describedTags } from './tags.decorators.js';

const DESCRIPTION = `Users, ways to sign in, sessions, organizations, API keys, subscriptions, metered usage and an audit log for B2B SaaS.

- **Failures** are \`application/problem+json\` (RFC 9457). Branch on \`code\`, which never changes; quote \`requestId\` when you report one. An unlisted address is 404 \`route_not_found\`; another method of a listed one is 405 \`method_not_allowed\` with \`Allow\`. Every address can be 400 \`malformed_request\`, 408 \`request_timeout\`, 417 \`expectation_failed\` or 431 \`headers_too_large\` for an unreadable HTTP request, and 400 \`malformed_body\`, 413 \`body_too_large\` or 415 \`unsupported_media_type\` for an unreadable body, even if none is expected. If a success is documented as \`text/html\`, browsers get failures as a page too.
- **Lists** take \`limit\` and \`cursor\` and return \`data\` and \`nextCursor\`, which is null on the last page.
- **Sign-in** returns a token in \`set-auth-token\` for \`Authorization: Bearer\`, and sets a cookie. A header takes precedence over the cookie. With the cookie, requests that change something need a trusted \`Origin\`.
- **Rate limits** are shown in \`RateLimit\` and \`RateLimit-Policy\`. A 429 gives the seconds to wait in \`Retry-After\`.
- Ids are UUIDs, times are ISO 8601 in UTC, unknown fields are refused.`;

export interface DocumentedAccess extends AccessRules {
  scopes: () => string[];
  sessionCookie: string;
}

export function createDocument(app: INestApplication, access: DocumentedAccess): OpenAPIObject {
  const builder = new DocumentBuilder()
    .setOpenAPIVersion('3.1.0')
    .setTitle('Tenantry')
    .setDescription(DESCRIPTION)
    .setVersion('1')
    .setLicense('Proprietary', 'https://tenantry.dev/license')
    .addServer('/', 'This server')
    // `addBearerAuth` would call the tokens JWTs.
    .addSecurity('session', {
      type: 'http',
      scheme: 'bearer',
      description: 'A session token from a sign-in (`set-auth-token`), or a Clerk session token.',
    })
    .addApiKey(
      { type: 'apiKey', in: 'header', name: 'X-Api-Key', description: 'An API key of an organization. Its scopes limit its use.' },
      'apiKey',
    )
    .addCookieAuth(
      access.sessionCookie,
      {
        type: 'apiKey',
        in: 'cookie',
        description:
          'Set by a sign-in. Over https its name starts with `__Host-`. Requests that change something also need a trusted `Origin`.',
      },
      'cookie',
    )
    .addSecurity('metrics', { type: 'http', scheme: 'bearer', description: '`METRICS_TOKEN` of the installation.' });
  for (const [name, description] of describedTags(app)) builder.addTag(name, description);
  const document = SwaggerModule.createDocument(app, builder.build(), {
    operationIdFactory: (_controller, method) => method,
    autoTagControllers: true,
    extraModels: [ProblemResponse, ...problemResponses().values()],
  });
  completeSchemas(document, access.scopes());
  completeOperations(document, app, access);
  return document;
}

/** The document is written once: @nestjs/swagger would write its 800 kB for each request, and the route is public. */
export function serveDocument(app: INestApplication, access: DocumentedAccess): void {
  let document: OpenAPIObject | undefined;
  let json: Buffer | undefined;
  const documentOnce = () => (document ??= createDocument(app, access));
  app.getHttpAdapter().get('/openapi.json', (_request: Request, response: Response) => {
    response.type('application/json').end((json ??= Buffer.from(JSON.stringify(documentOnce()))));
  });
  SwaggerModule.setup('docs', app, documentOnce, {
    raw: false,
    customSiteTitle: 'Tenantry API',
    swaggerOptions: { deepLinking: true, persistAuthorization: true, displayRequestDuration: true, defaultModelsExpandDepth: 0 },
  });
}
