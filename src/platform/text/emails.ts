import { applyDecorators } from '@nestjs/common';
import { ApiProperty } from '@nestjs/swagger';
import { Transform } from 'class-transformer';
import { ValidateBy } from 'class-validator';

/** RFC 5321, 4.5.3.1: an address of more characters fits no SMTP command. */
export const MAX_EMAIL_LENGTH = 254;

const LOCAL_PART = /^(?=.{1,64}$)[a-z0-9_'+-]+(?:\.[a-z0-9_'+-]+)*(?<!')$/;
const DOMAIN = /^(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z]{2,63}$/;

/** Trims, and lower-cases ASCII letters only: Unicode's rules would fold two mailboxes into one (docs/decisions/0028). */
export function normaliseEmail(text: string): string {
  return text.replaceAll(/^[\t\n\r ]+|[\t\n\r ]+$/g, '').replaceAll(/[A-Z]/g, (letter) => letter.toLowerCase());
}

/** Whether a normalised address may belong to a local account or be invited; narrower than Better Auth's own rule. */
export function isEmail(address: string): boolean {
  const at = address.lastIndexOf('@');
  return address.length <= MAX_EMAIL_LENGTH && LOCAL_PART.test(address.slice(0, at)) && DOMAIN.test(address.slice(at + 1));
}

export const normalisedEmail = ({ value }: { value: unknown }) => (typeof value === 'string' ? normaliseEmail(value) : value);

export const IsEmailAddress = (): PropertyDecorator =>
  applyDecorators(
    Transform(normalisedEmail),
    ValidateBy({
      name: 'isEmailAddress',
      validator: {
        validate: (value) => typeof value === 'string' && isEmail(value),
        defaultMessage: () =>
          `$property must be an email address of ASCII letters, digits and . _ + - ', with at most ${MAX_EMAIL_LENGTH} characters`,
      },
    }),
    ApiProperty({ format: 'email', maxLength: MAX_EMAIL_LENGTH }),
  );
