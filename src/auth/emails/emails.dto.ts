import { ApiSchema } from '@nestjs/swagger';
import { IsString, Length, ValidateIf } from 'class-validator';
import { IsRedirect } from '../../access/trusted-redirect.js';
import { whenGiven } from '../../platform/http/bodies/transforms.js';
import { IsEmailAddress } from '../../platform/text/emails.js';
import { IsPassword } from '../passwords/is-password.js';

@ApiSchema({ description: 'The address to verify.' })
export class VerificationMailRequest {
  /** The email address of the account. International addresses are not supported. @example "ada@example.com" */
  @IsEmailAddress()
  email!: string;

  /** The page that the link in the mail leads to. @example "https://app.example.com/welcome" */
  @ValidateIf(whenGiven)
  @IsRedirect()
  callbackURL?: string;
}

@ApiSchema({ description: 'The new address.' })
export class ChangeEmailRequest {
  /** Your new email address. International addresses are not supported. @example "ada@example.org" */
  @IsEmailAddress()
  newEmail!: string;

  /** Required when you have a password. @example "correct horse battery staple" */
  @ValidateIf(whenGiven)
  @IsPassword(0)
  currentPassword?: string;

  /** The page that the link in the mail leads to. @example "https://app.example.com/settings" */
  @ValidateIf(whenGiven)
  @IsRedirect()
  callbackURL?: string;
}

export class VerifyEmailQuery {
  /** The token from the mail. @example "h5Jt0cZ1RkqYv8mWn3Xb7LpA" */
  @IsString()
  @Length(1, 4000)
  token!: string;

  /** The page to show afterwards. */
  @ValidateIf(whenGiven)
  @IsRedirect()
  callbackURL?: string;
}

@ApiSchema({ description: 'Confirms the link that verifies an email.' })
export class VerifyEmailRequest extends VerifyEmailQuery {
  /** The password of the account. Not needed in the session that requested the link. @example "correct horse battery staple" */
  @ValidateIf(whenGiven)
  @IsPassword(0)
  password?: string;
}

@ApiSchema({ description: 'Reports that somebody else signed up with your email.' })
export class RejectSignUpRequest {
  /** The token from the mail. @example "h5Jt0cZ1RkqYv8mWn3Xb7LpA" */
  @IsString()
  @Length(1, 4000)
  token!: string;
}

export class ConfirmEmailQuery {
  /** The token from the mail. @example "h5Jt0cZ1RkqYv8mWn3Xb7LpA" */
  @IsString()
  @Length(1, 200)
  token!: string;
}

@ApiSchema({ description: 'Confirms the link that changes an email.' })
export class ConfirmEmailRequest extends ConfirmEmailQuery {
  /** The password of the account. Not needed in the session that requested the change. @example "correct horse battery staple" */
  @ValidateIf(whenGiven)
  @IsPassword(0)
  password?: string;
}
