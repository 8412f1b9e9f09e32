import { Injectable, type OnModuleInit } from '@nestjs/common';
import { HttpAdapterHost } from '@nestjs/core';
import type { NextFunction, Request, Response } from 'express';
import { MethodNotAllowed } from '../../problems/problems.errors.js';
import type { HttpAdapter } from '../http-adapter.js';

/** Responds 405 with `Allow` where a path is known and its method is not. */
@Injectable()
export class AllowedMethods implements OnModuleInit {
  constructor(private readonly host: HttpAdapterHost<HttpAdapter>) {}

  /** Nest has added its routes by now, and adds its 404 handler later. */
  onModuleInit(): void {
    const { routes } = this.host.httpAdapter;
    this.host.httpAdapter.use(({ method, path }: Request, _response: Response, next: NextFunction) => {
      const allowed = method === 'HEAD' ? [] : routes.methodsOf(path);
      if (allowed.length === 0) return next();
      throw new MethodNotAllowed({ headers: { allow: [...new Set([...allowed, 'OPTIONS'])].toSorted().join(', ') } });
    });
  }
}
