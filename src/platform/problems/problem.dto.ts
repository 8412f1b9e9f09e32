import { ApiProperty, ApiSchema } from '@nestjs/swagger';
@ApiSchema({ description: 'One mistake in a request.' })
export class InvalidFieldResponse {
  /** The path of the field, starting with `body`, `query` or `params`. @example "body.name" */
  path!: string;

  /** The mistake. @example "name must be shorter than or equal to 200 characters" */
  message!: string;
}

@ApiSchema({ description: 'A failure (RFC 9457).' })
export class ProblemResponse {
  /** A URI for this kind of problem. @example "https://tenantry.dev/problems/invalid_request" */
  @ApiProperty({ format: 'uri' })
  type!: string;

  /** The status in words. @example "Bad Request" */
  title!: string;

  /** The status of the response. @example 400 */
  @ApiProperty({ type: 'integer' })
  status!: number;

  /** A sentence that says what to do. @example "The request is not valid; see `errors`." */
  detail!: string;

  /** A code that never changes. Branch on it. @example "invalid_request" */
  code!: string;

  /** Also in the header `X-Request-Id`. @example "01980a3e-7c1d-7f6a-b1c2-3d4e5f607182" */
  requestId!: string;

  /** The mistakes in the request, field by field; at most the first 20. */
  @ApiProperty({ type: [InvalidFieldResponse], maxItems: 20, required: false })
  errors?: InvalidFieldResponse[];
}
