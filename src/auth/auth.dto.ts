import { ApiProperty, ApiSchema } from '@nestjs/swagger';
import { Type } from 'class-transformer';
import { IsBoolean, IsIn, IsOptional, IsString, IsUrl, MaxLength, ValidateIf, ValidateNested } from 'class-validator';
import { IsRedirect } from '../access/trusted-redirect.js';
import { whenGiven } from '../platform/http/bodies/transforms.js';
import { IsDisplayName } from '../platform/text/display-names.js';
import { IsEmailAddress } from '../platform/text/emails.js';
import { IsPassword, PASSWORD_LENGTH } from './passwords/is-password.js';

@ApiSchema({ description: 'A new user with email and password.' })
export class SignUpRequest {
  /** The name to display. @example "Ada Lovelace" */
  @IsDisplayName(200)
  name!: string;

  /** The email address. Letter case does not matter. International addresses are not supported. @example "ada@example.com" */
  @IsEmailAddress()
  email!: string;

  /** 8 to 128 characters of any kind. Common passwords are refused, and so are your email and our name. @example "correct horse battery staple" */
  @IsPassword(PASSWORD_LENGTH.min)
  password!: string;

  /** The URL of a picture. @example "https://example.com/ada.png" */
  @ValidateIf(whenGiven)
  @IsUrl({ protocols: ['https'], require_protocol: true })
  @MaxLength(2000)
  image?: string;

  /** The page that the link in the verification mail leads to. @example "https://app.example.com/welcome" */
  @ValidateIf(whenGiven)
  @IsRedirect()
  callbackURL?: string;

  /** Send false to end the session with the browser, or after a day even when it is used. @example true */
  @ValidateIf(whenGiven)
  @IsBoolean()
  rememberMe?: boolean;
}

@ApiSchema({ description: 'Email and password.' })
export class SignInRequest {
  /** The email address. Letter case does not matter. International addresses are not supported. @example "ada@example.com" */
  @IsEmailAddress()
  email!: string;

  /** The password. @example "correct horse battery staple" */
  @IsPassword()
  password!: string;

  /** Returned as `url`, with `redirect` true. @example "https://app.example.com/" */
  @ValidateIf(whenGiven)
  @IsRedirect()
  callbackURL?: string;

  /** Send false to end the session with the browser, or after a day even when it is used. @example true */
  @ValidateIf(whenGiven)
  @IsBoolean()
  rememberMe?: boolean;
}

@ApiSchema({ description: "A provider's tokens, for a front end that signed the user in there itself." })
export class IdTokenRequest {
  /** The provider's ID token. @example "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiIxIn0.c2ln" */
  @IsString()
  @MaxLength(8000)
  token!: string;

  /** The nonce with which the ID token was requested. */
  @ValidateIf(whenGiven)
  @IsString()
  @MaxLength(200)
  nonce?: string;

  /** The provider's access token, if it is needed to read the profile. */
  @ValidateIf(whenGiven)
  @IsString()
  @MaxLength(8000)
  accessToken?: string;
}

@ApiSchema({ description: 'A sign-in provider, and the pages to continue with.' })
export class SocialSignInRequest {
  /** The provider. @example "google" */
  @IsIn(['google', 'github'])
  provider!: 'google' | 'github';

  /** The page to show after signing in. @example "https://app.example.com/" */
  @ValidateIf(whenGiven)
  @IsRedirect()
  callbackURL?: string;

  /** The page to show to a new user, instead of `callbackURL`. */
  @ValidateIf(whenGiven)
  @IsRedirect()
  newUserCallbackURL?: string;

  /** The page to show when signing in failed. It receives the reason as `?error=`. */
  @ValidateIf(whenGiven)
  @IsRedirect()
  errorCallbackURL?: string;

  /** Send true to get the URL without a `Location` header. @example true */
  @ValidateIf(whenGiven)
  @IsBoolean()
  disableRedirect?: boolean;

  /** Signs in with an ID token instead of a redirect. */
  @ValidateIf(whenGiven)
  @ValidateNested()
  @Type(() => IdTokenRequest)
  idToken?: IdTokenRequest;
}

export class SignInErrorQuery {
  /** The reason. @example "access_denied" */
  @IsOptional()
  @IsString()
  error?: string;

  /** The reason in a sentence. */
  @IsOptional()
  @IsString()
  error_description?: string;

  /** The state that was sent to the provider. */
  @IsOptional()
  @IsString()
  state?: string;
}

@ApiSchema({ description: 'The signed-in user.' })
export class AuthUserResponse {
  /** The user's id. @example "01980a3e-7c1d-7f6a-b1c2-3d4e5f607182" */
  @ApiProperty({ format: 'uuid' })
  id!: string;

  /** The email address. @example "ada@example.com" */
  @ApiProperty({ format: 'email' })
  email!: string;

  /** Whether the user has proved that the address is theirs. @example false */
  emailVerified!: boolean;

  /** The name to display. @example "Ada Lovelace" */
  name!: string;

  /** The URL of a picture. @example "https://example.com/ada.png" */
  @ApiProperty({ format: 'uri' })
  image!: string | null;

  /** When the user signed up. */
  createdAt!: Date;

  /** When the user was last changed. */
  updatedAt!: Date;
}

@ApiSchema({ description: 'The new user and a session.' })
export class SignUpResponse {
  /** The bearer token of the session, also in the header `set-auth-token`. @example "Vt0aS1hTzJ8qYw3Xb7LpA9cRkD2mNf4e.3q2+7wAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=" */
  token!: string;

  /** The new user. */
  user!: AuthUserResponse;
}

@ApiSchema({ description: 'The user and a new session.' })
export class SignInResponse {
  /** The bearer token of the session, also in the header `set-auth-token`. @example "Vt0aS1hTzJ8qYw3Xb7LpA9cRkD2mNf4e.3q2+7wAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=" */
  token!: string;

  /** The signed-in user. */
  user!: AuthUserResponse;

  /** Whether to continue at `url`. @example false */
  redirect!: boolean;

  /** The `callbackURL` of the request. */
  @ApiProperty({ format: 'uri-reference' })
  url?: string;
}

@ApiSchema({ description: "The provider's sign-in page; for an ID token, the user and a new session." })
export class SocialSignInResponse {
  /** The provider's sign-in page. @example "https://accounts.google.com/o/oauth2/v2/auth?client_id=123" */
  @ApiProperty({ format: 'uri' })
  url?: string;

  /** Whether to continue at `url`. @example true */
  redirect!: boolean;

  /** The bearer token of the session, for a request with an ID token. */
  token?: string;

  /** The signed-in user, for a request with an ID token. */
  user?: AuthUserResponse;
}

@ApiSchema({ description: "The provider's page for linking an account." })
export class LinkResponse {
  /** The provider's page. @example "https://accounts.google.com/o/oauth2/v2/auth?client_id=123" */
  @ApiProperty({ format: 'uri' })
  url!: string;

  /** Whether to continue at `url`. @example true */
  redirect!: boolean;

  /** Whether the account is already linked. @example true */
  status?: boolean;
}

@ApiSchema({ description: 'The request was accepted.' })
export class StatusResponse {
  /** Always true. A failure is returned as a problem. @example true */
  status!: boolean;
}

@ApiSchema({ description: 'The session has ended.' })
export class SignOutResponse {
  /** Always true, also when the session had already ended. @example true */
  success!: boolean;
}
