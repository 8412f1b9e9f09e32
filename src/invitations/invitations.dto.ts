import { ApiProperty, ApiSchema } from '@nestjs/swagger';
import { IsIn, IsOptional, IsString, Length, MaxLength, ValidateIf } from 'class-validator';
import type { Page } from '../platform/pagination/cursors.service.js';
import { IsEmailAddress } from '../platform/text/emails.js';
import { ListQuery } from '../platform/pagination/list.dto.js';
import { whenGiven } from '../platform/http/bodies/transforms.js';
import { type Role, ROLES } from '../memberships/organization-memberships.table.js';
import type { InvitationWithOrganization } from './invitations.repository.js';
import { type Invitation, INVITATION_STATUSES, type InvitationStatus } from './invitations.table.js';

@ApiSchema({ description: 'The person to invite, and their role.' })
export class CreateInvitationRequest {
  /** Who is invited; any address that can sign up. @example "grace@example.com" */
  @IsEmailAddress()
  email!: string;

  /** The role. */
  @ApiProperty({ enum: ROLES, example: 'member' })
  @IsIn(ROLES)
  role!: Role;

  /** Your page for accepting, on a trusted origin; the mail links to it with `?token=`. @example "https://app.example.com/join" */
  @ValidateIf(whenGiven)
  @IsString()
  @MaxLength(2000)
  acceptUrl?: string;
}

@ApiSchema({ description: 'How to mail it again.' })
export class ResendInvitationRequest {
  /** Your page for accepting, on a trusted origin; the mail links to it with `?token=`. @example "https://app.example.com/join" */
  @ValidateIf(whenGiven)
  @IsString()
  @MaxLength(2000)
  acceptUrl?: string;
}

@ApiSchema({ description: 'The invitation to accept.' })
export class AcceptInvitationRequest {
  /** From the mail. @example "8ZkF3l0m2nQp5rStUvWxYz01AbCdEfGh" */
  @IsString()
  @Length(1, 200)
  token!: string;
}

export class ListInvitationsQuery extends ListQuery {
  /** The status. */
  @ApiProperty({ enum: INVITATION_STATUSES, required: false, description: 'Only those with this status.', example: 'pending' })
  @IsOptional()
  @IsIn(INVITATION_STATUSES)
  status?: InvitationStatus;
}

@ApiSchema({ description: 'An invitation, as the organization sees it.' })
export class InvitationResponse {
  /** The invitation. @example "01980a3e-7c1d-7f6a-b1c2-3d4e5f607182" */
  @ApiProperty({ format: 'uuid' })
  id!: string;

  /** The organization it leads to. @example "01980a3e-7c1d-7f6a-b1c2-3d4e5f607182" */
  organizationId!: string;

  /** Who is invited. @example "grace@example.com" */
  email!: string;

  /** The role. */
  @ApiProperty({ enum: ROLES, example: 'member' })
  role!: Role;

  /** The status. */
  @ApiProperty({ enum: INVITATION_STATUSES, example: 'pending' })
  status!: InvitationStatus;

  /** Who sent it. @example "01980a3e-7c1d-7f6a-b1c2-3d4e5f607182" */
  invitedBy!: string | null;

  /** When it ends by itself. */
  expiresAt!: Date;

  /** When it was made. */
  createdAt!: Date;

  static of({ id, organizationId, email, role, status, invitedBy, expiresAt, createdAt }: Invitation): InvitationResponse {
    return { id, organizationId, email, role, status, invitedBy, expiresAt, createdAt };
  }
}

@ApiSchema({ description: 'Where an invitation leads.' })
export class InvitingOrganizationResponse {
  /** The organization. @example "01980a3e-7c1d-7f6a-b1c2-3d4e5f607182" */
  @ApiProperty({ format: 'uuid' })
  id!: string;

  /** The name of the organization. @example "Acme Inc." */
  name!: string;

  /** Its address among the living. @example "acme" */
  slug!: string | null;

  /** Its picture. @example "https://example.com/acme.png" */
  imageUrl!: string | null;

  static of({ id, name, slug, imageUrl }: InvitationWithOrganization['organization']): InvitingOrganizationResponse {
    return { id, name, slug, imageUrl };
  }
}

@ApiSchema({ description: 'An invitation, as the invited sees it.' })
export class OwnInvitationResponse {
  /** The invitation. @example "01980a3e-7c1d-7f6a-b1c2-3d4e5f607182" */
  @ApiProperty({ format: 'uuid' })
  id!: string;

  /** Where it leads. */
  organization!: InvitingOrganizationResponse;

  /** The role. */
  @ApiProperty({ enum: ROLES, example: 'member' })
  role!: Role;

  /** The status. */
  @ApiProperty({ enum: INVITATION_STATUSES, example: 'pending' })
  status!: InvitationStatus;

  /** When it ends by itself. */
  expiresAt!: Date;

  /** When it was made. */
  createdAt!: Date;

  static of({ id, organization, role, status, expiresAt, createdAt }: InvitationWithOrganization): OwnInvitationResponse {
    return { id, organization: InvitingOrganizationResponse.of(organization), role, status, expiresAt, createdAt };
  }
}

@ApiSchema({ description: 'A page of invitations.' })
export class InvitationListResponse {
  /** The page. */
  data!: InvitationResponse[];

  /** Ask for the next page with it; null on the last one. @example "WyIyMDI2LTAxLTE1Il0.q83vEjRWeJCrze8SNFZ4kA" */
  nextCursor!: string | null;

  static of({ data, nextCursor }: Page<Invitation>): InvitationListResponse {
    return { data: data.map(InvitationResponse.of), nextCursor };
  }
}

@ApiSchema({ description: 'A page of your invitations.' })
export class OwnInvitationListResponse {
  /** The page. */
  data!: OwnInvitationResponse[];

  /** Ask for the next page with it; null on the last one. @example "WyIyMDI2LTAxLTE1Il0.q83vEjRWeJCrze8SNFZ4kA" */
  nextCursor!: string | null;

  static of({ data, nextCursor }: Page<InvitationWithOrganization>): OwnInvitationListResponse {
    return { data: data.map(OwnInvitationResponse.of), nextCursor };
  }
}
