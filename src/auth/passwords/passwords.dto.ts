import { ApiSchema } from '@nestjs/swagger';
import { IsString, Length, ValidateIf } from 'class-validator';
import { IsRedirect } from '../../access/trusted-redirect.js';
import { whenGiven } from '../../platform/http/bodies/transforms.js';
import { IsEmailAddress } from '../../platform/text/emails.js';
import { AuthUserResponse } from '../auth.dto.js';
import { IsPassword, PASSWORD_LENGTH } from './is-password.js';

@ApiSchema({ description: 'The account to reset the password of.' })
export class PasswordResetMailRequest {
  /** The email address of the account. International addresses are not supported. @example "ada@example.com" */
  @IsEmailAddress()
  email!: string;

  /** Your page for choosing a new password. It receives the token as `?token=`. @example "https://app.example.com/reset" */
  @ValidateIf(whenGiven)
  @IsRedirect()
  redirectTo?: string;
}

export class ResetPasswordPageQuery {
  /** Your page for choosing a new password. */
  @IsRedirect()
  callbackURL!: string;
}

@ApiSchema({ description: 'A reset token and a new password.' })
export class ResetPasswordRequest {
  /** The token from the mail. @example "h5Jt0cZ1RkqYv8mWn3Xb7LpA" */
  @IsString()
  @Length(1, 200)
  token!: string;

  /** 8 to 128 characters of any kind. Common passwords are refused, and so are your email and our name. @example "an even better horse" */
  @IsPassword(PASSWORD_LENGTH.min)
  newPassword!: string;
}

@ApiSchema({ description: 'The current and the new password.' })
export class ChangePasswordRequest {
  /** Your current password. @example "correct horse battery staple" */
  @IsPassword()
  currentPassword!: string;

  /** 8 to 128 characters of any kind. Common passwords are refused, and so are your email and our name. @example "an even better horse" */
  @IsPassword(PASSWORD_LENGTH.min)
  newPassword!: string;
}

@ApiSchema({ description: 'The new session, which replaces all others.' })
export class ChangePasswordResponse {
  /** The bearer token of the new session. All earlier sessions have ended. @example "Vt0aS1hTzJ8qYw3Xb7LpA9cRkD2mNf4e.3q2+7wAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=" */
  token!: string | null;

  /** Your user. */
  user!: AuthUserResponse;
}
