import { applyDecorators } from '@nestjs/common';
import { ApiProperty, ApiSchema } from '@nestjs/swagger';
import { Type } from 'class-transformer';
import { IsBoolean, IsIn, IsOptional, IsString, IsUrl, Length, MaxLength, ValidateBy, ValidateIf, ValidateNested } from 'class-validator';
import { IsRedirect } from '../access/trusted-redirect.js';
import { IsDisplayName } from '../platform/text/display-names.js';
import { IsEmailAddress } from '../platform/text/emails.js';
import { whenGiven } from '../platform/http/bodies/transforms.js';
import { PASSWORD_LENGTH } from './passwords/password-rules.service.js';

/** Counts code points, as JSON Schema does for `maxLength`. */
const IsPassword = (min = 1): PropertyDecorator =>
  applyDecorators(
    ValidateBy({
      name: 'isPassword',
      validator: {
        validate: (value) => typeof value === 'string' && isBetween([...value].length, min, PASSWORD_LENGTH.max),
        defaultMessage: () => `$property must be a text of ${min} to ${PASSWORD_LENGTH.max} characters`,
      },
    }),
    ApiProperty({ minLength: min, maxLength: PASSWORD_LENGTH.max }),
  );

const isBetween = (value: number, min: number, max: number) => value >= min && value <= max;

@ApiSchema({ description: 'A sign-up with email and password.' })
export class SignUpRequest {
  /** The name of the person. @example "Ada Lovelace" */
  @IsDisplayName(200)
  name!: string;

  /** The email address. The case of ASCII letters does not matter. International addresses are not supported. @example "ada@example.com" */
  @IsEmailAddress()
  email!: string;

  /** 8 to 128 characters of any kind. Common passwords, your email and our name are refused. @example "correct horse battery staple" */
  @IsPassword(PASSWORD_LENGTH.min)
  password!: string;

  /** The address of a picture. @example "https://example.com/ada.png" */
  @ValidateIf(whenGiven)
  @IsUrl({ protocols: ['https'], require_protocol: true })
  @MaxLength(2000)
  image?: string;

  /** The page that opens after the link in the verification mail. @example "https://app.example.com/welcome" */
  @ValidateIf(whenGiven)
  @IsRedirect()
  callbackURL?: string;

  /** False: the session ends with the browser or after a day, and use does not extend it. @example true */
  @ValidateIf(whenGiven)
  @IsBoolean()
  rememberMe?: boolean;
}

@ApiSchema({ description: 'Email and password.' })
export class SignInRequest {
  /** The email address. The case of ASCII letters does not matter. International addresses are not supported. @example "ada@example.com" */
  @IsEmailAddress()
  email!: string;

  /** The password. @example "correct horse battery staple" */
  @IsPassword()
  password!: string;

  /** Returned as `url`, with `redirect` true. @example "https://app.example.com/" */
  @ValidateIf(whenGiven)
  @IsRedirect()
  callbackURL?: string;

  /** False: the session ends with the browser or after a day, and use does not extend it. @example true */
  @ValidateIf(whenGiven)
  @IsBoolean()
  rememberMe?: boolean;
}

@ApiSchema({ description: 'Tokens that a front end got from a provider itself.' })
export class IdTokenRequest {
  /** The provider's ID token. @example "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiIxIn0.c2ln" */
  @IsString()
  @MaxLength(8000)
  token!: string;

  /** The nonce of the request for the token. */
  @ValidateIf(whenGiven)
  @IsString()
  @MaxLength(200)
  nonce?: string;

  /** The provider's access token, if reading the profile needs it. */
  @ValidateIf(whenGiven)
  @IsString()
  @MaxLength(8000)
  accessToken?: string;
}

@ApiSchema({ description: 'The provider, and the pages to open afterwards.' })
export class SocialSignInRequest {
  /** The provider. @example "google" */
  @IsIn(['google', 'github'])
  provider!: 'google' | 'github';

  /** The page to open afterwards. @example "https://app.example.com/" */
  @ValidateIf(whenGiven)
  @IsRedirect()
  callbackURL?: string;

  /** The page to open for a new user. */
  @ValidateIf(whenGiven)
  @IsRedirect()
  newUserCallbackURL?: string;

  /** The page to open after a failure; `?error=` gives the reason. */
  @ValidateIf(whenGiven)
  @IsRedirect()
  errorCallbackURL?: string;

  /** True: return only the URL, without a `Location` header. @example true */
  @ValidateIf(whenGiven)
  @IsBoolean()
  disableRedirect?: boolean;

  /** A sign-in with a token that the front end got from the provider. */
  @ValidateIf(whenGiven)
  @ValidateNested()
  @Type(() => IdTokenRequest)
  idToken?: IdTokenRequest;
}

@ApiSchema({ description: 'A request for a verification mail.' })
export class VerificationMailRequest {
  /** The email address. The case of ASCII letters does not matter. International addresses are not supported. @example "ada@example.com" */
  @IsEmailAddress()
  email!: string;

  /** The page that opens after the link. @example "https://app.example.com/welcome" */
  @ValidateIf(whenGiven)
  @IsRedirect()
  callbackURL?: string;
}

@ApiSchema({ description: 'A request for a password reset.' })
export class PasswordResetMailRequest {
  /** The email address. The case of ASCII letters does not matter. International addresses are not supported. @example "ada@example.com" */
  @IsEmailAddress()
  email!: string;

  /** Your page for choosing a new password. It receives `?token=`. @example "https://app.example.com/reset" */
  @ValidateIf(whenGiven)
  @IsRedirect()
  redirectTo?: string;
}

/** The common part of the two requests for a mail. */
export type MailRequest = VerificationMailRequest & PasswordResetMailRequest;

@ApiSchema({ description: 'The token from the mail and the new password.' })
export class ResetPasswordRequest {
  /** The token from the mail. @example "h5Jt0cZ1RkqYv8mWn3Xb7LpA" */
  @IsString()
  @Length(1, 200)
  token!: string;

  /** 8 to 128 characters of any kind. Common passwords, your email and our name are refused. @example "an even better horse" */
  @IsPassword(PASSWORD_LENGTH.min)
  newPassword!: string;
}

@ApiSchema({ description: 'The current and the new password.' })
export class ChangePasswordRequest {
  /** The current password. @example "correct horse battery staple" */
  @IsPassword()
  currentPassword!: string;

  /** 8 to 128 characters of any kind. Common passwords, your email and our name are refused. @example "an even better horse" */
  @IsPassword(PASSWORD_LENGTH.min)
  newPassword!: string;
}

@ApiSchema({ description: 'The new address.' })
export class ChangeEmailRequest {
  /** The new email address. International addresses are not supported. @example "ada@example.org" */
  @IsEmailAddress()
  newEmail!: string;

  /** Required if you have a password. @example "correct horse battery staple" */
  @ValidateIf(whenGiven)
  @IsPassword(0)
  currentPassword?: string;

  /** The page that opens after the link in the mail. @example "https://app.example.com/settings" */
  @ValidateIf(whenGiven)
  @IsRedirect()
  callbackURL?: string;
}

export class VerifyEmailQuery {
  /** The token from the mail. @example "h5Jt0cZ1RkqYv8mWn3Xb7LpA" */
  @IsString()
  @Length(1, 4000)
  token!: string;

  /** The page to open afterwards. */
  @ValidateIf(whenGiven)
  @IsRedirect()
  callbackURL?: string;
}

@ApiSchema({ description: 'The confirmation of an email address.' })
export class VerifyEmailRequest extends VerifyEmailQuery {
  /** The password of the account. Not required in the session that asked for the link. @example "correct horse battery staple" */
  @ValidateIf(whenGiven)
  @IsPassword(0)
  password?: string;
}

@ApiSchema({ description: 'The rejection of a sign-up with your email address.' })
export class RejectSignUpRequest {
  /** The token from the mail. @example "h5Jt0cZ1RkqYv8mWn3Xb7LpA" */
  @IsString()
  @Length(1, 4000)
  token!: string;
}

export class ResetPasswordPageQuery {
  /** Your page for choosing a new password. */
  @IsRedirect()
  callbackURL!: string;
}

export class ConfirmEmailQuery {
  /** The token from the mail. @example "h5Jt0cZ1RkqYv8mWn3Xb7LpA" */
  @IsString()
  @Length(1, 200)
  token!: string;
}

@ApiSchema({ description: 'The confirmation of a change of email.' })
export class ConfirmEmailRequest extends ConfirmEmailQuery {
  /** The password of the account. Not required in the session that asked for the change. @example "correct horse battery staple" */
  @ValidateIf(whenGiven)
  @IsPassword(0)
  password?: string;
}

export class SignInErrorQuery {
  /** The reason of the failure. @example "access_denied" */
  @IsOptional()
  @IsString()
  error?: string;

  /** The reason in words. */
  @IsOptional()
  @IsString()
  error_description?: string;

  /** The state that was sent to the provider. */
  @IsOptional()
  @IsString()
  state?: string;
}

@ApiSchema({ description: 'The user who signed in.' })
export class AuthUserResponse {
  /** The user's id. @example "01980a3e-7c1d-7f6a-b1c2-3d4e5f607182" */
  @ApiProperty({ format: 'uuid' })
  id!: string;

  /** The address. @example "ada@example.com" */
  @ApiProperty({ format: 'email' })
  email!: string;

  /** Whether the user has proved the address. @example false */
  emailVerified!: boolean;

  /** The name of the person. @example "Ada Lovelace" */
  name!: string;

  /** The address of a picture. @example "https://example.com/ada.png" */
  @ApiProperty({ format: 'uri' })
  image!: string | null;

  /** When the user signed up. */
  createdAt!: Date;

  /** When the user last changed. */
  updatedAt!: Date;
}

@ApiSchema({ description: 'The new user, signed in.' })
export class SignUpResponse {
  /** For `Authorization: Bearer`; also in the header `set-auth-token`. @example "Vt0aS1hTzJ8qYw3Xb7LpA9cRkD2mNf4e.3q2+7wAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=" */
  token!: string;

  /** The user. */
  user!: AuthUserResponse;
}

@ApiSchema({ description: 'The user who signed in, and the session token.' })
export class SignInResponse {
  /** For `Authorization: Bearer`; also in the header `set-auth-token`. @example "Vt0aS1hTzJ8qYw3Xb7LpA9cRkD2mNf4e.3q2+7wAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=" */
  token!: string;

  /** The user. */
  user!: AuthUserResponse;

  /** Whether the browser should open `url`. @example false */
  redirect!: boolean;

  /** `callbackURL` of the request. */
  @ApiProperty({ format: 'uri-reference' })
  url?: string;
}

@ApiSchema({ description: "The provider's page; or, for an ID token, the user who signed in." })
export class SocialSignInResponse {
  /** The provider's page. @example "https://accounts.google.com/o/oauth2/v2/auth?client_id=123" */
  @ApiProperty({ format: 'uri' })
  url?: string;

  /** Whether the browser should open `url`. @example true */
  redirect!: boolean;

  /** For `Authorization: Bearer`, if an ID token was sent. */
  token?: string;

  /** The user who signed in with the ID token. */
  user?: AuthUserResponse;
}

@ApiSchema({ description: "The provider's page." })
export class LinkResponse {
  /** The provider's page. @example "https://accounts.google.com/o/oauth2/v2/auth?client_id=123" */
  @ApiProperty({ format: 'uri' })
  url!: string;

  /** Whether the browser should open `url`. @example true */
  redirect!: boolean;

  /** Whether the account is linked already. @example true */
  status?: boolean;
}

@ApiSchema({ description: 'The session that replaces all others.' })
export class ChangePasswordResponse {
  /** The token of the new session. All old sessions have ended. @example "Vt0aS1hTzJ8qYw3Xb7LpA9cRkD2mNf4e.3q2+7wAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=" */
  token!: string | null;

  /** The user. */
  user!: AuthUserResponse;
}

@ApiSchema({ description: 'The confirmation of a request.' })
export class StatusResponse {
  /** Always true: a failure is a problem. @example true */
  status!: boolean;
}

@ApiSchema({ description: 'The confirmation of a sign-out.' })
export class SignOutResponse {
  /** Always true, also if the session had already ended. @example true */
  success!: boolean;
}
