import { Injectable, type OnModuleInit } from '@nestjs/common';
import { HttpAdapterHost } from '@nestjs/core';
import type { Express, NextFunction, Request, Response } from 'express';
import { MethodNotAllowed } from '../problems/problems.errors.js';

/** Responds 405 with `Allow` where a path is known and its method is not. */
@Injectable()
export class AllowedMethods implements OnModuleInit {
  constructor(private readonly host: HttpAdapterHost) {}

  /** Nest has added its routes by now, and adds its 404 handler later. */
  onModuleInit(): void {
    const express = this.host.httpAdapter.getInstance<Express>();
    for (const [path, methods] of methodsByPath(express)) {
      // Several patterns can match one path: /v1/users/me and /v1/users/:userId.
      express.all(path, (_request: Request, response: Response, next: NextFunction) => {
        allowedBy(response).push(...methods);
        next();
      });
    }
    express.use((request: Request, response: Response, next: NextFunction) => {
      const allowed = allowedBy(response);
      if (allowed.length === 0 || request.method === 'HEAD') return next();
      throw new MethodNotAllowed({ headers: { allow: [...new Set([...allowed, 'OPTIONS'])].toSorted().join(', ') } });
    });
  }
}

function methodsByPath({ router }: Express): Map<string, string[]> {
  const found = new Map<string, string[]>();
  for (const { route } of router.stack) {
    if (route === undefined) continue;
    const methods = route.stack
      .map(({ method }) => method.toUpperCase())
      .flatMap((method) => (method === 'GET' ? ['GET', 'HEAD'] : [method]));
    found.set(route.path, [...(found.get(route.path) ?? []), ...methods]);
  }
  return found;
}

function allowedBy({ locals }: Response): string[] {
  return (locals['allowedMethods'] ??= []) as string[];
}
