import { Controller, Get, Query } from '@nestjs/common';
import { IsInt, Max, Min } from 'class-validator';
import { Type } from 'class-transformer';
import { Limited, Public } from '../../src/access/access.decorators.js';
import { AppModule } from '../../src/app.module.js';

class PingQuery {
  limit?: number;
}
IsInt()(PingQuery.prototype, 'limit');
Min(1)(PingQuery.prototype, 'limit');
Max(100)(PingQuery.prototype, 'limit');
Type(() => Number)(PingQuery.prototype, 'limit');

class PingController {
  ping({ limit }: PingQuery) {
    return { status: 'ok', limit };
  }
}
// Decorators are applied as functions, because Node strips types, and decorators are not types.
const ping = Object.getOwnPropertyDescriptor(PingController.prototype, 'ping')!;
Reflect.defineMetadata('design:paramtypes', [PingQuery], PingController.prototype, 'ping');
Query()(PingController.prototype, 'ping', 0);
Get('ping')(PingController.prototype, 'ping', ping);
Public()(PingController.prototype, 'ping', ping);
Limited()(PingController);
Controller('v1')(PingController);

// Loaded before dist/main.js: the real program with one more route, which needs no database.
const register = AppModule.register.bind(AppModule);
AppModule.register = (config) => ({ ...register(config), controllers: [PingController] });
