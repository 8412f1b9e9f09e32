import { applyDecorators } from '@nestjs/common';
import { ApiExtraModels, ApiResponse, getSchemaPath } from '@nestjs/swagger';
import { BodyTooLarge, InvalidRequest, MalformedBody, UnsupportedMediaType } from './common.errors.js';
import { ProblemResponse } from './problem.dto.js';
import type { ProblemClass } from './problem.js';

const DECLARED = Symbol('problems');

/** Documents the failures of a handler; several of one status become examples of one answer. */
export function Problems(...problems: ProblemClass[]): MethodDecorator {
  return (target, key, descriptor) => {
    const handler = descriptor.value as object;
    const declared = (Reflect.getOwnMetadata(DECLARED, handler) as ProblemClass[] | undefined) ?? [];
    const all = [...new Set([...declared, ...problems])];
    Reflect.defineMetadata(DECLARED, all, handler);
    const statuses = [...new Set(all.map((problem) => problem.status))];
    applyDecorators(
      ApiExtraModels(ProblemResponse),
      ...statuses.map((status) =>
        documentStatus(
          status,
          all.filter((problem) => problem.status === status),
        ),
      ),
    )(target, key, descriptor);
  };
}

/** Documents what can be wrong with any body. */
export const BodyProblems = (): MethodDecorator => Problems(InvalidRequest, MalformedBody, BodyTooLarge, UnsupportedMediaType);

function documentStatus(status: number, problems: ProblemClass[]): MethodDecorator {
  return ApiResponse({
    status,
    description: problems.map((problem) => `\`${problem.code}\`: ${problem.detail}`).join('\n\n'),
    content: {
      'application/problem+json': {
        schema: { $ref: getSchemaPath(ProblemResponse) },
        examples: Object.fromEntries(
          problems.map(({ code, detail }) => [
            code,
            {
              value: {
                type: `https://tenantry.dev/problems/${code}`,
                title: code,
                status,
                detail,
                code,
                requestId: '01980a3e-7c1d-7f6a-b1c2-3d4e5f607182',
              },
            },
          ]),
        ),
      },
    },
  });
}
