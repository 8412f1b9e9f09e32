import type { INestApplicationContext, Type } from '@nestjs/common';
import { MetadataScanner, ModulesContainer } from '@nestjs/core';

export interface Route {
  handler: object;
  controller: Type;
}

/** Every handler by its name, which is its operationId. @throws {Error} when two have the same name */
export function routesOf(app: INestApplicationContext): Map<string, Route> {
  const routes = new Map<string, Route>();
  const scanner = new MetadataScanner();
  for (const controller of controllersOf(app)) {
    const prototype = controller.prototype as Record<string, object>;
    for (const name of scanner.getAllMethodNames(prototype)) {
      const handler = prototype[name]!;
      if (!Reflect.hasMetadata('path', handler)) continue;
      const other = routes.get(name)?.controller.name;
      if (other !== undefined)
        throw new Error(`Two routes are called ${name}, in ${other} and ${controller.name}. Rename one: it is the operationId.`);
      routes.set(name, { handler, controller });
    }
  }
  return routes;
}

export function controllersOf(app: INestApplicationContext): Type[] {
  const modules = [...app.get(ModulesContainer).values()];
  return modules.flatMap(({ controllers }) => [...controllers.values()].map(({ metatype }) => metatype as Type));
}
