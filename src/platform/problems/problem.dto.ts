import { ApiProperty, ApiSchema } from '@nestjs/swagger';
@ApiSchema({ description: 'One thing that is wrong with a request.' })
export class InvalidFieldResponse {
  /** Where it is, from `body`, `query` or `params` on. @example "body.name" */
  path!: string;

  /** What is wrong with it. @example "name must be shorter than or equal to 200 characters" */
  message!: string;
}

@ApiSchema({ description: 'How every failure is answered (RFC 9457).' })
export class ProblemResponse {
  /** A URI for this kind of problem. @example "https://tenantry.dev/problems/invalid_request" */
  @ApiProperty({ format: 'uri' })
  type!: string;

  /** The status in words. @example "Bad Request" */
  title!: string;

  /** The status of the answer. @example 400 */
  @ApiProperty({ type: 'integer' })
  status!: number;

  /** A sentence to act on. @example "The request is not valid; see `errors`." */
  detail!: string;

  /** Permanent; branch on this one. @example "invalid_request" */
  code!: string;

  /** Also in the header `X-Request-Id`. @example "01980a3e-7c1d-7f6a-b1c2-3d4e5f607182" */
  requestId!: string;

  /** What is wrong with the request, field by field; the first 20 mistakes. */
  @ApiProperty({ type: [InvalidFieldResponse], maxItems: 20, required: false })
  errors?: InvalidFieldResponse[];
}
