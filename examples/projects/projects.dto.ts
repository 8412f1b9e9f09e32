import { ApiProperty, ApiSchema } from '@nestjs/swagger';
import { ValidateIf } from 'class-validator';
import { whenGiven } from '../../src/platform/http/bodies/transforms.js';
import type { Page } from '../../src/platform/pagination/cursors.service.js';
import { IsDisplayName } from '../../src/platform/text/display-names.js';
import type { Project } from './projects.table.js';

@ApiSchema({ description: 'A new project.' })
export class CreateProjectRequest {
  /** Unique in the organization. @example "Apollo" */
  @IsDisplayName(100)
  name!: string;

  /** Optional text for its readers. @example "Flies to the moon." */
  @ValidateIf(whenGiven)
  @IsDisplayName(1000)
  description?: string;
}

@ApiSchema({ description: 'One project of an organization.' })
export class ProjectResponse {
  /** Its id. @example "01980a3e-7c1d-7f6a-b1c2-3d4e5f607182" */
  @ApiProperty({ format: 'uuid' })
  id!: string;

  /** Unique in the organization. @example "Apollo" */
  name!: string;

  /** Null without one. @example "Flies to the moon." */
  description!: string | null;

  /** When it was created. */
  createdAt!: Date;

  /** Names every field, so that a new column is never published by accident. */
  static of({ id, name, description, createdAt }: Project): ProjectResponse {
    return { id, name, description, createdAt };
  }
}

@ApiSchema({ description: 'A page of projects.' })
export class ProjectListResponse {
  /** The page. */
  data!: ProjectResponse[];

  /** Request the next page with it; null on the last one. @example "WyIyMDI2LTAxLTE1Il0.q83vEjRWeJCrze8SNFZ4kA" */
  nextCursor!: string | null;

  static of({ data, nextCursor }: Page<Project>): ProjectListResponse {
    return { data: data.map(ProjectResponse.of), nextCursor };
  }
}
