import { ApiProperty, ApiSchema } from '@nestjs/swagger';
import { IsIn, IsOptional, IsString, MaxLength } from 'class-validator';
import type { Page } from '../platform/pagination/cursors.service.js';
import { ListQuery } from '../platform/pagination/list.dto.js';
import type { Member, MemberSort } from './memberships.repository.js';
import { type Role, ROLES } from './organization-memberships.table.js';

export class ListMembershipsQuery extends ListQuery {
  /** What they may do. */
  @ApiProperty({ enum: ROLES, required: false, description: 'Only members with this role.', example: 'admin' })
  @IsOptional()
  @IsIn(ROLES)
  role?: Role;

  /** Beginnings of words in name or email; all must be there. @example "ada" */
  @IsOptional()
  @IsString()
  @MaxLength(200)
  search?: string;

  @ApiProperty({
    enum: ['joined', 'name'],
    required: false,
    default: 'joined',
    description: 'By when they joined, oldest first, or by name.',
  })
  @IsIn(['joined', 'name'])
  sort: MemberSort = 'joined';
}

@ApiSchema({ description: 'The new role.' })
export class ChangeRoleRequest {
  /** What they may do. */
  @ApiProperty({ enum: ROLES, example: 'admin' })
  @IsIn(ROLES)
  role!: Role;
}

@ApiSchema({ description: 'Whose membership it is.' })
export class MemberUserResponse {
  /** The user. @example "01980a3e-7c1d-7f6a-b1c2-3d4e5f607182" */
  @ApiProperty({ format: 'uuid' })
  id!: string;

  /** What to call them. @example "Ada Lovelace" */
  name!: string;

  /** Their email; one who came from Clerk may have none. @example "ada@example.com" */
  email!: string | null;

  /** Their picture. @example "https://example.com/ada.png" */
  imageUrl!: string | null;
}

@ApiSchema({ description: 'A person in an organization.' })
export class MembershipResponse {
  /** The membership. @example "01980a3e-7c1d-7f6a-b1c2-3d4e5f607182" */
  @ApiProperty({ format: 'uuid' })
  id!: string;

  /** The organization. @example "01980a3e-7c1d-7f6a-b1c2-3d4e5f607182" */
  organizationId!: string;

  /** What they may do. */
  @ApiProperty({ enum: ROLES, example: 'member' })
  role!: Role;

  /** Who it is. */
  user!: MemberUserResponse;

  /** When they joined. */
  createdAt!: Date;

  /** When it last changed. */
  updatedAt!: Date;

  static of({ id, organizationId, role, user, createdAt, updatedAt }: Member): MembershipResponse {
    return { id, organizationId, role, user, createdAt, updatedAt };
  }
}

@ApiSchema({ description: 'A page of members.' })
export class MembershipListResponse {
  /** The page. */
  data!: MembershipResponse[];

  /** Ask for the next page with it; null on the last one. @example "WyIyMDI2LTAxLTE1Il0.q83vEjRWeJCrze8SNFZ4kA" */
  nextCursor!: string | null;

  static of({ data, nextCursor }: Page<Member>): MembershipListResponse {
    return { data: data.map(MembershipResponse.of), nextCursor };
  }
}
