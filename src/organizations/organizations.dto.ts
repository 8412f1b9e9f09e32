import { ApiProperty, ApiSchema } from '@nestjs/swagger';
import { IsString, IsUrl, Length, MaxLength, ValidateIf } from 'class-validator';
import type { Page } from '../platform/pagination/cursors.service.js';
import { IsDisplayName } from '../platform/text/display-names.js';
import { whenGiven, whenNotNull } from '../platform/http/bodies/transforms.js';
import { type Role, ROLES } from '../memberships/organization-memberships.table.js';
import type { OwnOrganization } from './organizations.repository.js';
import type { Organization } from './organizations.table.js';

@ApiSchema({ description: 'An organization to make.' })
export class CreateOrganizationRequest {
  /** What it is called. @example "Acme Inc." */
  @IsDisplayName(200)
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

@ApiSchema({ description: 'What changes; the rest stays.' })
export class UpdateOrganizationRequest {
  /** What it is called. @example "Acme Inc." */
  @ValidateIf(whenGiven)
  @IsDisplayName(200)
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

@ApiSchema({ description: 'A tenant.' })
export class OrganizationResponse {
  /** The organization. @example "01980a3e-7c1d-7f6a-b1c2-3d4e5f607182" */
  @ApiProperty({ format: 'uuid' })
  id!: string;

  /** What it is called. @example "Acme Inc." */
  name!: string;

  /** An organization that came from Clerk may have none. @example "acme" */
  slug!: string | null;

  /** Its picture. @example "https://example.com/acme.png" */
  imageUrl!: string | null;

  /** Clerk's id, for an organization that Clerk owns. @example "org_2g7np7Hrk0SN6kj5EDMLDaKNL0S" */
  clerkOrganizationId!: string | null;

  /** When it was made. */
  createdAt!: Date;

  /** When it last changed. */
  updatedAt!: Date;

  static of({ id, name, slug, imageUrl, clerkOrganizationId, createdAt, updatedAt }: Organization): OrganizationResponse {
    return { id, name, slug, imageUrl, clerkOrganizationId, createdAt, updatedAt };
  }
}

@ApiSchema({ description: 'A tenant, and what you are in it.' })
export class OwnOrganizationResponse extends OrganizationResponse {
  /** What they may do. */
  @ApiProperty({ enum: ROLES, nullable: true, description: 'Your role; null for an operator who looks in.', example: 'admin' })
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
