import { ApiProperty, ApiSchema } from '@nestjs/swagger';
import { IsString, IsUrl, Length, MaxLength, ValidateIf } from 'class-validator';
import type { Page } from '../platform/pagination/cursors.service.js';
import { IsDisplayName } from '../platform/text/display-names.js';
import { whenGiven, whenNotNull } from '../platform/http/bodies/transforms.js';
import { type Role, ROLES } from '../memberships/organization-memberships.table.js';
import type { OwnOrganization } from './organizations.repository.js';
import type { Organization } from './organizations.table.js';

@ApiSchema({ description: 'A new organization.' })
export class CreateOrganizationRequest {
  /** The name. @example "Acme Inc." */
  @IsDisplayName(200)
  name!: string;

  /** Normalized to lower-case letters, digits and dashes. If it is omitted, it is made from the name. @example "acme" */
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

@ApiSchema({ description: 'The fields to change. Omitted fields stay.' })
export class UpdateOrganizationRequest {
  /** The name. @example "Acme Inc." */
  @ValidateIf(whenGiven)
  @IsDisplayName(200)
  name?: string;

  /** Normalized to lower-case letters, digits and dashes. @example "acme" */
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

@ApiSchema({ description: 'An organization.' })
export class OrganizationResponse {
  /** The organization. @example "01980a3e-7c1d-7f6a-b1c2-3d4e5f607182" */
  @ApiProperty({ format: 'uuid' })
  id!: string;

  /** The name. @example "Acme Inc." */
  name!: string;

  /** An organization from Clerk may have none. @example "acme" */
  slug!: string | null;

  /** The address of its picture. @example "https://example.com/acme.png" */
  imageUrl!: string | null;

  /** Clerk's id, for an organization that Clerk manages. @example "org_2g7np7Hrk0SN6kj5EDMLDaKNL0S" */
  clerkOrganizationId!: string | null;

  /** When it was created. */
  createdAt!: Date;

  /** When it last changed. */
  updatedAt!: Date;

  static of({ id, name, slug, imageUrl, clerkOrganizationId, createdAt, updatedAt }: Organization): OrganizationResponse {
    return { id, name, slug, imageUrl, clerkOrganizationId, createdAt, updatedAt };
  }
}

@ApiSchema({ description: 'An organization, and your role in it.' })
export class OwnOrganizationResponse extends OrganizationResponse {
  /** The role of the caller. */
  @ApiProperty({ enum: ROLES, nullable: true, description: 'Your role; null for an operator who is not a member.', example: 'admin' })
  role!: Role | null;

  static override of(organization: OwnOrganization): OwnOrganizationResponse {
    return { ...OrganizationResponse.of(organization), role: organization.role };
  }
}

@ApiSchema({ description: 'A page of your organizations.' })
export class OwnOrganizationListResponse {
  /** The page. */
  data!: OwnOrganizationResponse[];

  /** Ask for the next page with it; null on the last one. @example "WyIyMDI2LTAxLTE1Il0.q83vEjRWeJCrze8SNFZ4kA" */
  nextCursor!: string | null;

  static of({ data, nextCursor }: Page<OwnOrganization>): OwnOrganizationListResponse {
    return { data: data.map(OwnOrganizationResponse.of), nextCursor };
  }
}
