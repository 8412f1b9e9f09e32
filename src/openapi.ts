import type { INestApplication } from '@nestjs/common';
import { DocumentBuilder, type OpenAPIObject, SwaggerModule } from '@nestjs/swagger';
import { sessionCookieName } from './access/session-tokens.js';

const DESCRIPTION = `Users, sessions, organizations, subscriptions and metered usage for B2B SaaS.

Failures are \`application/problem+json\` (RFC 9457); branch on \`code\`. Lists answer \`data\` and \`nextCursor\`.
Every answer carries \`X-Request-Id\`; what is counted carries \`RateLimit\` and \`RateLimit-Policy\`.`;

/** Builds the document from the application's own routes. */
export function createDocument(app: INestApplication): OpenAPIObject {
  const builder = new DocumentBuilder()
    .setOpenAPIVersion('3.1.0')
    .setTitle('Tenantry')
    .setDescription(DESCRIPTION)
    .setVersion('1')
    .setLicense('Proprietary', 'https://tenantry.dev/license')
    .addServer('/', 'This server')
    .addBearerAuth(
      { type: 'http', scheme: 'bearer', description: 'A session token from signing in (`set-auth-token`), or a Clerk session token.' },
      'session',
    )
    .addApiKey(
      { type: 'apiKey', in: 'header', name: 'X-Api-Key', description: 'A key of an organization, for what its scopes allow there.' },
      'apiKey',
    )
    .addCookieAuth(
      sessionCookieName('http://localhost'),
      { type: 'apiKey', in: 'cookie', description: 'Set by signing in. Requests that change something need a trusted `Origin` with it.' },
      'cookie',
    );
  const document = SwaggerModule.createDocument(app, builder.build(), {
    operationIdFactory: (_controller, method) => method,
    autoTagControllers: true,
  });
  return document;
}

/** `/openapi.json` and Swagger UI at `/docs`. */
export function serveDocument(app: INestApplication): void {
  SwaggerModule.setup('docs', app, () => createDocument(app), {
    jsonDocumentUrl: 'openapi.json',
    yamlDocumentUrl: 'openapi.yaml',
    customSiteTitle: 'Tenantry API',
    swaggerOptions: { persistAuthorization: true, displayRequestDuration: true, tagsSorter: 'alpha' },
  });
}
