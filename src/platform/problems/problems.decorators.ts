import type { Type } from '@nestjs/common';
import type { ProblemClass } from './problem.js';

const DECLARED = Symbol('problems');

/** Documents the failures of a handler that do not follow from its access, limits and body. */
export function Problems(...problems: ProblemClass[]): MethodDecorator {
  return (_target, _key, descriptor) => {
    const handler = descriptor.value as object;
    Reflect.defineMetadata(DECLARED, [...problemsOf(handler), ...problems], handler);
  };
}

export function problemsOf(handler: object): ProblemClass[] {
  return (Reflect.getOwnMetadata(DECLARED, handler) as ProblemClass[] | undefined) ?? [];
}

const RESPONSES = new Map<ProblemClass, Type>();

/** Documents the response of a problem with members of its own. */
export const DescribesProblem =
  (problem: ProblemClass) =>
  (response: Type): void =>
    void RESPONSES.set(problem, response);

export function problemResponses(): ReadonlyMap<ProblemClass, Type> {
  return RESPONSES;
}
