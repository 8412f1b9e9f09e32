import { ApiProperty } from '@nestjs/swagger';
import { Transform } from 'class-transformer';
import { IsEmail, IsIn, IsOptional, IsString, Length, MaxLength, ValidateIf } from 'class-validator';
import type { Page } from '../common/cursors.js';
import { ListQuery } from '../common/list.dto.js';
import { lowered, whenGiven } from '../common/transforms.js';
import { type Role, ROLES } from '../memberships/organization-memberships.table.js';
import type { InvitationWithOrganization } from './invitations.repository.js';
import { type Invitation, INVITATION_STATUSES, type InvitationStatus } from './invitations.table.js';

export class CreateInvitationRequest {
  /** @example "grace@example.com" */
  @Transform(lowered)
  @IsEmail()
  @MaxLength(254)
  email!: string;

  @ApiProperty({ enum: ROLES, example: 'member' })
  @IsIn(ROLES)
  role!: Role;

  /** Your page for accepting, on a trusted origin; the mail links to it with `?token=`. @example "https://app.example.com/join" */
  @ValidateIf(whenGiven)
  @IsString()
  @MaxLength(2000)
  acceptUrl?: string;
}

export class ResendInvitationRequest {
  /** Your page for accepting, on a trusted origin; the mail links to it with `?token=`. @example "https://app.example.com/join" */
  @ValidateIf(whenGiven)
  @IsString()
  @MaxLength(2000)
  acceptUrl?: string;
}

export class AcceptInvitationRequest {
  /** From the mail. @example "8ZkF3l0m2nQp5rStUvWxYz01AbCdEfGh" */
  @IsString()
  @Length(1, 200)
  token!: string;
}

export class ListInvitationsQuery extends ListQuery {
  @ApiProperty({ enum: INVITATION_STATUSES, required: false, description: 'Only those with this status.', example: 'pending' })
  @IsOptional()
  @IsIn(INVITATION_STATUSES)
  status?: InvitationStatus;
}

export class InvitationResponse {
  /** @example "01980a3e-7c1d-7f6a-b1c2-3d4e5f607182" */
  id!: string;

  /** @example "01980a3e-7c1d-7f6a-b1c2-3d4e5f607182" */
  organizationId!: string;

  /** @example "grace@example.com" */
  email!: string;

  @ApiProperty({ enum: ROLES, example: 'member' })
  role!: Role;

  @ApiProperty({ enum: INVITATION_STATUSES, example: 'pending' })
  status!: InvitationStatus;

  /** Who sent it. @example "01980a3e-7c1d-7f6a-b1c2-3d4e5f607182" */
  invitedBy!: string | null;

  expiresAt!: Date;

  createdAt!: Date;

  static of({ id, organizationId, email, role, status, invitedBy, expiresAt, createdAt }: Invitation): InvitationResponse {
    return { id, organizationId, email, role, status: statusNow(status, expiresAt), invitedBy, expiresAt, createdAt };
  }
}

export class InvitingOrganizationResponse {
  /** @example "01980a3e-7c1d-7f6a-b1c2-3d4e5f607182" */
  id!: string;

  /** @example "Acme Inc." */
  name!: string;

  /** @example "acme" */
  slug!: string | null;

  /** @example "https://example.com/acme.png" */
  imageUrl!: string | null;

  static of({ id, name, slug, imageUrl }: InvitationWithOrganization['organization']): InvitingOrganizationResponse {
    return { id, name, slug, imageUrl };
  }
}

export class OwnInvitationResponse {
  /** @example "01980a3e-7c1d-7f6a-b1c2-3d4e5f607182" */
  id!: string;

  organization!: InvitingOrganizationResponse;

  @ApiProperty({ enum: ROLES, example: 'member' })
  role!: Role;

  @ApiProperty({ enum: INVITATION_STATUSES, example: 'pending' })
  status!: InvitationStatus;

  expiresAt!: Date;

  createdAt!: Date;

  static of({ id, organization, role, status, expiresAt, createdAt }: InvitationWithOrganization): OwnInvitationResponse {
    return { id, organization: InvitingOrganizationResponse.of(organization), role, status, expiresAt, createdAt };
  }
}

export class InvitationListResponse {
  data!: InvitationResponse[];

  /** Ask for the next page with it; null on the last one. */
  nextCursor!: string | null;

  static of({ data, nextCursor }: Page<Invitation>): InvitationListResponse {
    return { data: data.map(InvitationResponse.of), nextCursor };
  }
}

export class OwnInvitationListResponse {
  data!: OwnInvitationResponse[];

  /** Ask for the next page with it; null on the last one. */
  nextCursor!: string | null;

  static of({ data, nextCursor }: Page<InvitationWithOrganization>): OwnInvitationListResponse {
    return { data: data.map(OwnInvitationResponse.of), nextCursor };
  }
}

/** The job marks expired ones a little later. */
function statusNow(status: InvitationStatus, expiresAt: Date): InvitationStatus {
  return status === 'pending' && expiresAt <= new Date() ? 'expired' : status;
}
