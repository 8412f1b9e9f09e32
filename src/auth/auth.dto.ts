import { applyDecorators } from '@nestjs/common';
import { ApiProperty, ApiSchema } from '@nestjs/swagger';
import { Type } from 'class-transformer';
import { IsBoolean, IsIn, IsOptional, IsString, IsUrl, Length, MaxLength, ValidateBy, ValidateIf, ValidateNested } from 'class-validator';
import { IsRedirect } from '../access/trusted-redirect.js';
import { IsDisplayName } from '../platform/text/display-names.js';
import { IsEmailAddress } from '../platform/text/emails.js';
import { whenGiven } from '../platform/http/bodies/transforms.js';
import { PASSWORD_LENGTH } from './passwords/password-rules.service.js';

/** Counts code points, as the document does: JSON Schema says so of `maxLength`. */
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

@ApiSchema({ description: 'Who signs up, with email and password.' })
export class SignUpRequest {
  /** What to call the person. @example "Ada Lovelace" */
  @IsDisplayName(200)
  name!: string;

  /** The address; ASCII letters in any case. International addresses are not supported. @example "ada@example.com" */
  @IsEmailAddress()
  email!: string;

  /** 8 to 128 characters of any kind; none of the most common passwords, nor your email or our name. @example "correct horse battery staple" */
  @IsPassword(PASSWORD_LENGTH.min)
  password!: string;

  /** A picture. @example "https://example.com/ada.png" */
  @ValidateIf(whenGiven)
  @IsUrl({ protocols: ['https'], require_protocol: true })
  @MaxLength(2000)
  image?: string;

  /** Where the link in the verification mail leads afterwards. @example "https://app.example.com/welcome" */
  @ValidateIf(whenGiven)
  @IsRedirect()
  callbackURL?: string;

  /** False: the session ends with the browser, or after a day, and use does not prolong it. @example true */
  @ValidateIf(whenGiven)
  @IsBoolean()
  rememberMe?: boolean;
}

@ApiSchema({ description: 'Email and password.' })
export class SignInRequest {
  /** The address; ASCII letters in any case. International addresses are not supported. @example "ada@example.com" */
  @IsEmailAddress()
  email!: string;

  /** The password. @example "correct horse battery staple" */
  @IsPassword()
  password!: string;

  /** Answered as `url`, with `redirect` true. @example "https://app.example.com/" */
  @ValidateIf(whenGiven)
  @IsRedirect()
  callbackURL?: string;

  /** False: the session ends with the browser, or after a day, and use does not prolong it. @example true */
  @ValidateIf(whenGiven)
  @IsBoolean()
  rememberMe?: boolean;
}

@ApiSchema({ description: 'What a provider gave to a front end that talked to it itself.' })
export class IdTokenRequest {
  /** The provider's ID token. @example "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiIxIn0.c2ln" */
  @IsString()
  @MaxLength(8000)
  token!: string;

  /** The nonce it was asked for with. */
  @ValidateIf(whenGiven)
  @IsString()
  @MaxLength(200)
  nonce?: string;

  /** The provider's access token, where reading the profile needs it. */
  @ValidateIf(whenGiven)
  @IsString()
  @MaxLength(8000)
  accessToken?: string;
}

@ApiSchema({ description: 'Which provider, and where the browser goes afterwards.' })
export class SocialSignInRequest {
  /** Which provider. @example "google" */
  @IsIn(['google', 'github'])
  provider!: 'google' | 'github';

  /** Where the browser goes afterwards. @example "https://app.example.com/" */
  @ValidateIf(whenGiven)
  @IsRedirect()
  callbackURL?: string;

  /** Where the browser goes afterwards when the user is new. */
  @ValidateIf(whenGiven)
  @IsRedirect()
  newUserCallbackURL?: string;

  /** Where the browser goes when it did not work; `?error=` says why. */
  @ValidateIf(whenGiven)
  @IsRedirect()
  errorCallbackURL?: string;

  /** True: only answer the URL and send no `Location`. @example true */
  @ValidateIf(whenGiven)
  @IsBoolean()
  disableRedirect?: boolean;

  /** Signs in with a token that the provider gave to the front end. */
  @ValidateIf(whenGiven)
  @ValidateNested()
  @Type(() => IdTokenRequest)
  idToken?: IdTokenRequest;
}

@ApiSchema({ description: 'Whose address the mail verifies.' })
export class VerificationMailRequest {
  /** The address; ASCII letters in any case. International addresses are not supported. @example "ada@example.com" */
  @IsEmailAddress()
  email!: string;

  /** Where the link leads afterwards. @example "https://app.example.com/welcome" */
  @ValidateIf(whenGiven)
  @IsRedirect()
  callbackURL?: string;
}

@ApiSchema({ description: 'Whose password is reset.' })
export class PasswordResetMailRequest {
  /** The address; ASCII letters in any case. International addresses are not supported. @example "ada@example.com" */
  @IsEmailAddress()
  email!: string;

  /** Your page for choosing a new password; it gets `?token=`. @example "https://app.example.com/reset" */
  @ValidateIf(whenGiven)
  @IsRedirect()
  redirectTo?: string;
}

/** What the two requests for a mail have in common, for the service. */
export type MailRequest = VerificationMailRequest & PasswordResetMailRequest;

@ApiSchema({ description: 'The token from the mail and the new password.' })
export class ResetPasswordRequest {
  /** From the mail. @example "h5Jt0cZ1RkqYv8mWn3Xb7LpA" */
  @IsString()
  @Length(1, 200)
  token!: string;

  /** 8 to 128 characters of any kind; none of the most common passwords, nor your email or our name. @example "an even better horse" */
  @IsPassword(PASSWORD_LENGTH.min)
  newPassword!: string;
}

@ApiSchema({ description: 'The password as it is and as it shall be.' })
export class ChangePasswordRequest {
  /** The password as it is. @example "correct horse battery staple" */
  @IsPassword()
  currentPassword!: string;

  /** 8 to 128 characters of any kind; none of the most common passwords, nor your email or our name. @example "an even better horse" */
  @IsPassword(PASSWORD_LENGTH.min)
  newPassword!: string;
}

@ApiSchema({ description: 'The new address.' })
export class ChangeEmailRequest {
  /** The address it becomes. International addresses are not supported. @example "ada@example.org" */
  @IsEmailAddress()
  newEmail!: string;

  /** Needed when you have a password. @example "correct horse battery staple" */
  @ValidateIf(whenGiven)
  @IsPassword(0)
  currentPassword?: string;

  /** Where the link in the mail leads afterwards. @example "https://app.example.com/settings" */
  @ValidateIf(whenGiven)
  @IsRedirect()
  callbackURL?: string;
}

export class VerifyEmailQuery {
  /** From the mail. @example "h5Jt0cZ1RkqYv8mWn3Xb7LpA" */
  @IsString()
  @Length(1, 4000)
  token!: string;

  /** Where to send the browser afterwards. */
  @ValidateIf(whenGiven)
  @IsRedirect()
  callbackURL?: string;
}

@ApiSchema({ description: 'A link to prove an email, confirmed.' })
export class VerifyEmailRequest extends VerifyEmailQuery {
  /** The password of the account. Not needed in the session that asked for the link. @example "correct horse battery staple" */
  @ValidateIf(whenGiven)
  @IsPassword(0)
  password?: string;
}

@ApiSchema({ description: 'A link to prove an email, from somebody who did not sign up.' })
export class RejectSignUpRequest {
  /** From the mail. @example "h5Jt0cZ1RkqYv8mWn3Xb7LpA" */
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
  /** From the mail. @example "h5Jt0cZ1RkqYv8mWn3Xb7LpA" */
  @IsString()
  @Length(1, 200)
  token!: string;
}

@ApiSchema({ description: 'A link to change an email, confirmed.' })
export class ConfirmEmailRequest extends ConfirmEmailQuery {
  /** The password of the account. Not needed in the session that asked for the change. @example "correct horse battery staple" */
  @ValidateIf(whenGiven)
  @IsPassword(0)
  password?: string;
}

export class SignInErrorQuery {
  /** Why it failed. @example "access_denied" */
  @IsOptional()
  @IsString()
  error?: string;

  /** The same in words. */
  @IsOptional()
  @IsString()
  error_description?: string;

  /** What the provider was sent, back again. */
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

  /** Whether the address was proved to be theirs. @example false */
  emailVerified!: boolean;

  /** What to call the person. @example "Ada Lovelace" */
  name!: string;

  /** A picture. @example "https://example.com/ada.png" */
  @ApiProperty({ format: 'uri' })
  image!: string | null;

  /** When they signed up. */
  createdAt!: Date;

  /** When this last changed. */
  updatedAt!: Date;
}

@ApiSchema({ description: 'The new user, signed in.' })
export class SignUpResponse {
  /** For `Authorization: Bearer`; also in the header `set-auth-token`. @example "Vt0aS1hTzJ8qYw3Xb7LpA9cRkD2mNf4e.3q2+7wAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=" */
  token!: string;

  /** Who it is. */
  user!: AuthUserResponse;
}

@ApiSchema({ description: 'Who signed in, and the token to show from now on.' })
export class SignInResponse {
  /** For `Authorization: Bearer`; also in the header `set-auth-token`. @example "Vt0aS1hTzJ8qYw3Xb7LpA9cRkD2mNf4e.3q2+7wAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=" */
  token!: string;

  /** Who it is. */
  user!: AuthUserResponse;

  /** Whether `url` asks to be followed. @example false */
  redirect!: boolean;

  /** `callbackURL` of the request. */
  @ApiProperty({ format: 'uri-reference' })
  url?: string;
}

@ApiSchema({ description: "The provider's page; or, for an ID token, who signed in." })
export class SocialSignInResponse {
  /** The provider's page. @example "https://accounts.google.com/o/oauth2/v2/auth?client_id=123" */
  @ApiProperty({ format: 'uri' })
  url?: string;

  /** Whether `url` asks to be followed. @example true */
  redirect!: boolean;

  /** For `Authorization: Bearer`, when an ID token was given. */
  token?: string;

  /** Who signed in with the ID token. */
  user?: AuthUserResponse;
}

@ApiSchema({ description: "The provider's page." })
export class LinkResponse {
  /** The provider's page. @example "https://accounts.google.com/o/oauth2/v2/auth?client_id=123" */
  @ApiProperty({ format: 'uri' })
  url!: string;

  /** Whether `url` asks to be followed. @example true */
  redirect!: boolean;

  /** Whether the account is linked already. @example true */
  status?: boolean;
}

@ApiSchema({ description: 'The session that replaces all others.' })
export class ChangePasswordResponse {
  /** Of the new session; all old ones have ended. @example "Vt0aS1hTzJ8qYw3Xb7LpA9cRkD2mNf4e.3q2+7wAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=" */
  token!: string | null;

  /** Who it is. */
  user!: AuthUserResponse;
}

@ApiSchema({ description: 'Whether the request was taken.' })
export class StatusResponse {
  /** Always true: what went wrong is a problem. @example true */
  status!: boolean;
}

@ApiSchema({ description: 'Whether there is no session any more.' })
export class SignOutResponse {
  /** Always true: a session that is gone already is signed out, too. @example true */
  success!: boolean;
}
