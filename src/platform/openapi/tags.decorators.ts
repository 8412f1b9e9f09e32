import { type INestApplicationContext, SetMetadata } from '@nestjs/common';
import { controllersOf } from './routes.js';

const TAG_DESCRIPTION = 'tag description';

/** Describes a controller's group of operations in the OpenAPI document. The group is named after the controller. */
export const TagDescription = (description: string): ClassDecorator => SetMetadata(TAG_DESCRIPTION, description);

/** The described groups, in the order of the modules. */
export function describedTags(app: INestApplicationContext): [name: string, description: string][] {
  return controllersOf(app).flatMap((controller): [string, string][] => {
    const description = Reflect.getMetadata(TAG_DESCRIPTION, controller) as string | undefined;
    return description === undefined ? [] : [[controller.name.replace(/Controller$/, ''), description]];
  });
}
