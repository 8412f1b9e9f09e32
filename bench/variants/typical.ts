import type { AddressInfo } from 'node:net';
import {
  type CanActivate,
  Controller,
  type ExecutionContext,
  Get,
  Module,
  Req,
  UnauthorizedException,
  UseGuards,
  ValidationPipe,
} from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { fromNodeHeaders } from 'better-auth/node';
import { eq } from 'drizzle-orm';
import type { Request } from 'express';
import { given, ready } from '../support/variant.js';
import { typicalAuth, user } from '../support/better-auth.js';

interface SignedIn extends Request {
  userId?: string;
}

// Decorators are applied as functions, because Node strips types, and decorators are not types.
const { db, auth } = typicalAuth((given() as { databaseUrl: string }).databaseUrl);

class AuthGuard implements CanActivate {
  async canActivate(context: ExecutionContext): Promise<boolean> {
    const request = context.switchToHttp().getRequest<SignedIn>();
    const found = await auth.api.getSession({ headers: fromNodeHeaders(request.headers) });
    if (found === null) throw new UnauthorizedException();
    request.userId = found.user.id;
    return true;
  }
}

class MeController {
  async getMe(request: SignedIn) {
    const [me] = await db.select().from(user).where(eq(user.id, request.userId!));
    return me;
  }
}
const getMe = Object.getOwnPropertyDescriptor(MeController.prototype, 'getMe')!;
Get('me')(MeController.prototype, 'getMe', getMe);
Req()(MeController.prototype, 'getMe', 0);
UseGuards(AuthGuard)(MeController);
Controller('v1/users')(MeController);

class TypicalModule {}
Module({ controllers: [MeController] })(TypicalModule);

const app = await NestFactory.create(TypicalModule, { logger: ['error'] });
app.useGlobalPipes(new ValidationPipe({ whitelist: true, transform: true }));
await app.listen(0, '127.0.0.1');
ready((app.getHttpServer().address() as AddressInfo).port);
