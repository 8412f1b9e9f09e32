import { ApiProperty, ApiSchema } from '@nestjs/swagger';
import { Transform } from 'class-transformer';
import { IsOptional, IsString, IsUrl, Matches, MaxLength, ValidateIf } from 'class-validator';
import type { Page } from '../platform/pagination/cursors.service.js';
import { IsDisplayName } from '../platform/text/display-names.js';
import { normalisedEmail } from '../platform/text/emails.js';
import { IsTime } from '../platform/time/is-time.js';
import { ListQuery } from '../platform/pagination/list.dto.js';
import { trimmed, whenGiven, whenNotNull } from '../platform/http/bodies/transforms.js';
import type { User } from './users.table.js';

@ApiSchema({ description: 'The fields to change. Omitted fields stay.' })
export class UpdateProfileRequest {
  /** The name of the person. @example "Ada Lovelace" */
  @ValidateIf(whenGiven)
  @IsDisplayName(200)
  name?: string;

  /** Null removes it. @example "ada" */
  @ValidateIf(whenNotNull)
  @Transform(trimmed)
  @Matches(/^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$/, { message: 'username must be 1 to 63 letters, digits, dots, dashes or underscores' })
  username?: string | null;

  /** An https address; null removes it. @example "https://example.com/ada.png" */
  @ValidateIf(whenNotNull)
  @IsUrl({ protocols: ['https'], require_protocol: true, require_tld: false })
  @MaxLength(2000)
  imageUrl?: string | null;
}

export class ListUsersQuery extends ListQuery {
  /** The exact address; the case of ASCII letters does not matter. @example "ada@example.com" */
  @IsOptional()
  @Transform(normalisedEmail)
  @Matches(/.@./, { message: 'email must be an address' })
  @MaxLength(320)
  email?: string;

  /** Clerk's id. @example "user_2g7np7Hrk0SN6kj5EDMLDaKNL0S" */
  @IsOptional()
  @IsString()
  @MaxLength(200)
  clerkUserId?: string;

  /** Created at this time or later. A day alone starts at midnight UTC. @example "2026-01-01T00:00:00Z" */
  @IsOptional()
  @IsTime()
  createdFrom?: Date;

  /** Created before this time. A day alone starts at midnight UTC. @example "2027-01-01T00:00:00Z" */
  @IsOptional()
  @IsTime()
  createdBefore?: Date;

  /** Beginnings of words in the name, username or email. All of them must match. A page may hold fewer users than `limit`, or none, while `nextCursor` is set. @example "ada love" */
  @IsOptional()
  @IsString()
  @MaxLength(200)
  search?: string;
}

@ApiSchema({ description: 'One person.' })
export class UserResponse {
  /** The user's id. @example "01980a3e-7c1d-7f6a-b1c2-3d4e5f607182" */
  @ApiProperty({ format: 'uuid' })
  id!: string;

  /** A user from Clerk may have none. @example "ada@example.com" */
  @ApiProperty({ format: 'email' })
  email!: string | null;

  /** Whether the user has proved the address. @example true */
  emailVerified!: boolean;

  /** The name of the person. @example "Ada Lovelace" */
  name!: string;

  /** A name without spaces. It need not be unique. @example "ada" */
  username!: string | null;

  /** The address of a picture. @example "https://example.com/ada.png" */
  @ApiProperty({ format: 'uri' })
  imageUrl!: string | null;

  /** Clerk's id, for a user that Clerk manages. @example "user_2g7np7Hrk0SN6kj5EDMLDaKNL0S" */
  clerkUserId!: string | null;

  /** Whether the user is an operator of this installation. @example false */
  operator!: boolean;

  /** When the user was suspended; null if they may sign in. */
  suspendedAt!: Date | null;

  /** When the user signed up or was first seen. */
  createdAt!: Date;

  /** When the user last changed. */
  updatedAt!: Date;

  static of(user: User): UserResponse {
    const { id, email, emailVerified, name, username, imageUrl, clerkUserId, operator, suspendedAt, createdAt, updatedAt } = user;
    return { id, email, emailVerified, name, username, imageUrl, clerkUserId, operator, suspendedAt, createdAt, updatedAt };
  }
}

@ApiSchema({ description: 'A page of users.' })
export class UserListResponse {
  /** The users, newest first. */
  data!: UserResponse[];

  /** Ask for the next page with it; null on the last one. @example "WyIyMDI2LTAxLTE1Il0.q83vEjRWeJCrze8SNFZ4kA" */
  nextCursor!: string | null;

  static of({ data, nextCursor }: Page<User>): UserListResponse {
    return { data: data.map(UserResponse.of), nextCursor };
  }
}
