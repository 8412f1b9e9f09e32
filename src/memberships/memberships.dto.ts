import { ApiProperty, ApiSchema } from '@nestjs/swagger';
import { IsIn, IsOptional, IsString, MaxLength } from 'class-validator';
import type { Page } from '../platform/pagination/cursors.service.js';
import { ListQuery } from '../platform/pagination/list.dto.js';
import type { Member, MemberSort } from './memberships.repository.js';
import { type Role, ROLES } from './organization-memberships.table.js';

export class ListMembershipsQuery extends ListQuery {
  /** The role. */
  @ApiProperty({ enum: ROLES, required: false, description: 'Only members with this role.', example: 'admin' })
  @IsOptional()
  @IsIn(ROLES)
  role?: Role;

  /** Beginnings of words in the name, username or email. All of them must match. A page may hold fewer members than `limit`, or none, while `nextCursor` is set. @example "ada" */
  @IsOptional()
  @IsString()
  @MaxLength(200)
  search?: string;

  @ApiProperty({
    enum: ['joined', 'name'],
    required: false,
    default: 'joined',
    description: 'By time of joining, oldest first, or by name.',
  })
  @IsIn(['joined', 'name'])
  sort: MemberSort = 'joined';
}

@ApiSchema({ description: 'The new role.' })
export class ChangeRoleRequest {
  /** The role. */
  @ApiProperty({ enum: ROLES, example: 'admin' })
  @IsIn(ROLES)
  role!: Role;
}

@ApiSchema({ description: 'The user of a membership.' })
export class MemberUserResponse {
  /** The user. @example "01980a3e-7c1d-7f6a-b1c2-3d4e5f607182" */
  @ApiProperty({ format: 'uuid' })
  id!: string;

  /** The name of the user. @example "Ada Lovelace" */
  name!: string;

  /** The email; a user from Clerk may have none. @example "ada@example.com" */
  email!: string | null;

  /** The address of their picture. @example "https://example.com/ada.png" */
  imageUrl!: string | null;
}

@ApiSchema({ description: 'A member of an organization.' })
export class MembershipResponse {
  /** The membership. @example "01980a3e-7c1d-7f6a-b1c2-3d4e5f607182" */
  @ApiProperty({ format: 'uuid' })
  id!: string;

  /** The organization. @example "01980a3e-7c1d-7f6a-b1c2-3d4e5f607182" */
  organizationId!: string;

  /** The role. */
  @ApiProperty({ enum: ROLES, example: 'member' })
  role!: Role;

  /** The user. */
  user!: MemberUserResponse;

  /** When the user joined. */
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
