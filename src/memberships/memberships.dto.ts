import { ApiProperty } from '@nestjs/swagger';
import { IsIn, IsOptional, IsString, MaxLength } from 'class-validator';
import type { Page } from '../common/cursors.js';
import { ListQuery } from '../common/list.dto.js';
import type { Member, MemberSort } from './memberships.repository.js';
import { type Role, ROLES } from './organization-memberships.table.js';

export class ListMembershipsQuery extends ListQuery {
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

export class ChangeRoleRequest {
  @ApiProperty({ enum: ROLES, example: 'admin' })
  @IsIn(ROLES)
  role!: Role;
}

export class MemberUserResponse {
  /** The user. @example "01980a3e-7c1d-7f6a-b1c2-3d4e5f607182" */
  id!: string;

  /** What to call them. @example "Ada Lovelace" */
  name!: string;

  /** Their email; one who came from Clerk may have none. @example "ada@example.com" */
  email!: string | null;

  /** Their picture. @example "https://example.com/ada.png" */
  imageUrl!: string | null;
}

export class MembershipResponse {
  /** The membership. @example "01980a3e-7c1d-7f6a-b1c2-3d4e5f607182" */
  id!: string;

  /** The organization. @example "01980a3e-7c1d-7f6a-b1c2-3d4e5f607182" */
  organizationId!: string;

  @ApiProperty({ enum: ROLES, example: 'member' })
  role!: Role;

  user!: MemberUserResponse;

  /** When they joined. */
  createdAt!: Date;

  updatedAt!: Date;

  static of({ id, organizationId, role, user, createdAt, updatedAt }: Member): MembershipResponse {
    return { id, organizationId, role, user, createdAt, updatedAt };
  }
}

export class MembershipListResponse {
  data!: MembershipResponse[];

  /** Ask for the next page with it; null on the last one. */
  nextCursor!: string | null;

  static of({ data, nextCursor }: Page<Member>): MembershipListResponse {
    return { data: data.map(MembershipResponse.of), nextCursor };
  }
}
