import { Transform, Type } from 'class-transformer';
import {
  IsBoolean,
  IsEmail,
  IsIn,
  IsOptional,
  IsString,
  IsUrl,
  Length,
  MaxLength,
  MinLength,
  ValidateBy,
  ValidateNested,
} from 'class-validator';
import { z } from 'zod';
import { lowered, trimmed } from '../common/transforms.js';

/** It takes fewer addresses than `IsEmail`: what it would refuse later, and namelessly, is refused here. */
const IsTakenByBetterAuth = () =>
  ValidateBy({
    name: 'isTakenByBetterAuth',
    validator: {
      validate: (value) => typeof value === 'string' && z.regexes.email.test(value),
      defaultMessage: () => "$property must be an email of plain letters, digits and any of . _ + - '",
    },
  });

export class SignUpRequest {
  /** @example "Ada Lovelace" */
  @Transform(trimmed)
  @IsString()
  @Length(1, 200)
  name!: string;

  /** @example "ada@example.com" */
  @Transform(lowered)
  @IsEmail()
  @IsTakenByBetterAuth()
  @MaxLength(254)
  email!: string;

  /** @example "correct horse battery staple" */
  @IsString()
  @MinLength(8)
  @MaxLength(128)
  password!: string;

  /** @example "https://example.com/ada.png" */
  @IsOptional()
  @IsUrl({ protocols: ['https'], require_protocol: true })
  @MaxLength(2000)
  image?: string;

  /** Where the link in the verification mail leads afterwards. @example "https://app.example.com/welcome" */
  @IsOptional()
  @IsString()
  @MaxLength(2000)
  callbackURL?: string;

  /** False: the session ends with the browser, or after a day, and use does not prolong it. @example true */
  @IsOptional()
  @IsBoolean()
  rememberMe?: boolean;
}

export class SignInRequest {
  /** @example "ada@example.com" */
  @Transform(lowered)
  @IsEmail()
  @IsTakenByBetterAuth()
  @MaxLength(254)
  email!: string;

  /** @example "correct horse battery staple" */
  @IsString()
  @MinLength(1)
  @MaxLength(128)
  password!: string;

  /** Answered as `url`, with `redirect` true. @example "https://app.example.com/" */
  @IsOptional()
  @IsString()
  @MaxLength(2000)
  callbackURL?: string;

  /** False: the session ends with the browser, or after a day, and use does not prolong it. @example true */
  @IsOptional()
  @IsBoolean()
  rememberMe?: boolean;
}

export class IdTokenRequest {
  /** The provider's ID token. */
  @IsString()
  @MaxLength(8000)
  token!: string;

  /** The nonce it was asked for with. */
  @IsOptional()
  @IsString()
  @MaxLength(200)
  nonce?: string;

  @IsOptional()
  @IsString()
  @MaxLength(8000)
  accessToken?: string;
}

export class SocialSignInRequest {
  /** @example "google" */
  @IsIn(['google', 'github'])
  provider!: 'google' | 'github';

  /** Where the browser goes afterwards. @example "https://app.example.com/" */
  @IsOptional()
  @IsString()
  @MaxLength(2000)
  callbackURL?: string;

  /** Where the browser goes afterwards when the user is new. */
  @IsOptional()
  @IsString()
  @MaxLength(2000)
  newUserCallbackURL?: string;

  /** Where the browser goes when it did not work; `?error=` says why. */
  @IsOptional()
  @IsString()
  @MaxLength(2000)
  errorCallbackURL?: string;

  /** True: only answer the URL and send no `Location`. @example true */
  @IsOptional()
  @IsBoolean()
  disableRedirect?: boolean;

  /** Signs in with a token that the provider gave to the front end. */
  @IsOptional()
  @ValidateNested()
  @Type(() => IdTokenRequest)
  idToken?: IdTokenRequest;
}

export class VerificationMailRequest {
  /** @example "ada@example.com" */
  @Transform(lowered)
  @IsEmail()
  @IsTakenByBetterAuth()
  @MaxLength(254)
  email!: string;

  /** Where the link leads afterwards. @example "https://app.example.com/welcome" */
  @IsOptional()
  @IsString()
  @MaxLength(2000)
  callbackURL?: string;
}

export class PasswordResetMailRequest {
  /** @example "ada@example.com" */
  @Transform(lowered)
  @IsEmail()
  @IsTakenByBetterAuth()
  @MaxLength(254)
  email!: string;

  /** Your page for choosing a new password; it gets `?token=`. @example "https://app.example.com/reset" */
  @IsOptional()
  @IsString()
  @MaxLength(2000)
  redirectTo?: string;
}

/** What the two requests for a mail have in common, for the service. */
export type MailRequest = VerificationMailRequest & PasswordResetMailRequest;

export class ResetPasswordRequest {
  /** From the mail. @example "h5Jt0cZ1RkqYv8mWn3Xb7LpA" */
  @IsString()
  @Length(1, 200)
  token!: string;

  /** @example "an even better horse" */
  @IsString()
  @MinLength(8)
  @MaxLength(128)
  newPassword!: string;
}

export class ChangePasswordRequest {
  /** @example "correct horse battery staple" */
  @IsString()
  @Length(1, 128)
  currentPassword!: string;

  /** @example "an even better horse" */
  @IsString()
  @MinLength(8)
  @MaxLength(128)
  newPassword!: string;
}

export class ChangeEmailRequest {
  /** @example "ada@example.org" */
  @Transform(lowered)
  @IsEmail()
  @IsTakenByBetterAuth()
  @MaxLength(254)
  newEmail!: string;

  /** Needed when you have a password. @example "correct horse battery staple" */
  @IsOptional()
  @IsString()
  @MaxLength(128)
  currentPassword?: string;

  /** Where the link in the mail leads afterwards. @example "https://app.example.com/settings" */
  @IsOptional()
  @IsString()
  @MaxLength(2000)
  callbackURL?: string;
}

export class VerifyEmailQuery {
  /** From the mail. */
  @IsString()
  @Length(1, 4000)
  token!: string;

  /** Where to send the browser afterwards. */
  @IsOptional()
  @IsString()
  @MaxLength(2000)
  callbackURL?: string;
}

export class ResetPasswordPageQuery {
  /** Your page for choosing a new password. */
  @IsString()
  @MaxLength(2000)
  callbackURL!: string;
}

export class ConfirmEmailQuery {
  /** From the mail. */
  @IsString()
  @Length(1, 200)
  token!: string;
}

export class SignInErrorQuery {
  /** @example "access_denied" */
  @IsOptional()
  @IsString()
  error?: string;

  @IsOptional()
  @IsString()
  error_description?: string;

  @IsOptional()
  @IsString()
  state?: string;
}

export class AuthUserResponse {
  /** @example "01980a3e-7c1d-7f6a-b1c2-3d4e5f607182" */
  id!: string;

  /** @example "ada@example.com" */
  email!: string;

  /** @example false */
  emailVerified!: boolean;

  /** @example "Ada Lovelace" */
  name!: string;

  /** @example "https://example.com/ada.png" */
  image!: string | null;

  createdAt!: Date;

  updatedAt!: Date;
}

export class SignUpResponse {
  /** For `Authorization: Bearer`; also in the header `set-auth-token`. */
  token!: string;

  user!: AuthUserResponse;
}

export class SignInResponse {
  /** For `Authorization: Bearer`; also in the header `set-auth-token`. */
  token!: string;

  user!: AuthUserResponse;

  /** Whether `url` asks to be followed. @example false */
  redirect!: boolean;

  /** `callbackURL` of the request. */
  url?: string;
}

export class SocialSignInResponse {
  /** The provider's page. @example "https://accounts.google.com/o/oauth2/v2/auth?client_id=…" */
  url?: string;

  /** Whether `url` asks to be followed. @example true */
  redirect!: boolean;

  /** For `Authorization: Bearer`, when an ID token was given. */
  token?: string;

  user?: AuthUserResponse;
}

export class LinkResponse {
  /** The provider's page. */
  url!: string;

  /** @example true */
  redirect!: boolean;

  /** @example true */
  status?: boolean;
}

export class ChangePasswordResponse {
  /** Of the new session; all old ones have ended. */
  token!: string | null;

  user!: AuthUserResponse;
}

export class StatusResponse {
  /** @example true */
  status!: boolean;
}

export class SignOutResponse {
  /** @example true */
  success!: boolean;
}
