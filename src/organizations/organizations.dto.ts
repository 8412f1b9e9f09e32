import { ApiProperty } from '@nestjs/swagger';
import { Transform } from 'class-transformer';
import { IsString, IsUrl, Length, MaxLength, ValidateIf } from 'class-validator';
import type { Page } from '../common/cursors.js';
import { trimmed, whenGiven, whenNotNull } from '../common/transforms.js';
import { type Role, ROLES } from '../memberships/organization-memberships.table.js';
import type { OwnOrganization } from './organizations.repository.js';
import type { Organization } from './organizations.table.js';

export class CreateOrganizationRequest {
  /** What it is called. @example "Acme Inc." */
  @Transform(trimmed)
  @IsString()
  @Length(1, 200)
  name!: string;

  /** Normalised to lower case letters, digits and dashes; without one it is made from the name. @example "acme" */
  @ValidateIf(whenGiven)
  @IsString()
  @Length(2, 100)
  slug?: string;

  /** An https address. @example "https://example.com/acme.png" */
  @ValidateIf(whenNotNull)
  @IsUrl({ protocols: ['https'], require_protocol: true, require_tld: false })
  @MaxLength(2000)
  imageUrl?: string | null;
}

export class UpdateOrganizationRequest {
  /** What it is called. @example "Acme Inc." */
  @ValidateIf(whenGiven)
  @Transform(trimmed)
  @IsString()
  @Length(1, 200)
  name?: string;

  /** Normalised to lower case letters, digits and dashes. @example "acme" */
  @ValidateIf(whenGiven)
  @IsString()
  @Length(2, 100)
  slug?: string;

  /** An https address; null removes it. @example "https://example.com/acme.png" */
  @ValidateIf(whenNotNull)
  @IsUrl({ protocols: ['https'], require_protocol: true, require_tld: false })
  @MaxLength(2000)
  imageUrl?: string | null;
}

export class OrganizationResponse {
  /** The organization. @example "01980a3e-7c1d-7f6a-b1c2-3d4e5f607182" */
  id!: string;

  /** What it is called. @example "Acme Inc." */
  name!: string;

  /** An organization that came from Clerk may have none. @example "acme" */
  slug!: string | null;

  /** Its picture. @example "https://example.com/acme.png" */
  imageUrl!: string | null;

  /** Clerk's id, for an organization that Clerk owns. @example "org_2g7np7Hrk0SN6kj5EDMLDaKNL0S" */
  clerkOrganizationId!: string | null;

  createdAt!: Date;

  updatedAt!: Date;

  static of({ id, name, slug, imageUrl, clerkOrganizationId, createdAt, updatedAt }: Organization): OrganizationResponse {
    return { id, name, slug, imageUrl, clerkOrganizationId, createdAt, updatedAt };
  }
}

export class OwnOrganizationResponse extends OrganizationResponse {
  @ApiProperty({ enum: ROLES, nullable: true, description: 'Your role; null for an operator who looks in.', example: 'admin' })
  role!: Role | null;

  static override of(organization: OwnOrganization): OwnOrganizationResponse {
    return { ...OrganizationResponse.of(organization), role: organization.role };
  }
}

export class OwnOrganizationListResponse {
  data!: OwnOrganizationResponse[];

  /** Ask for the next page with it; null on the last one. */
  nextCursor!: string | null;

  static of({ data, nextCursor }: Page<OwnOrganization>): OwnOrganizationListResponse {
    return { data: data.map(OwnOrganizationResponse.of), nextCursor };
  }
}
