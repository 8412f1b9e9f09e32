import { ApiSchema } from '@nestjs/swagger';
@ApiSchema({ description: 'That all is well.' })
export class HealthResponse {
  /** Always `ok`: what is not well is a problem. @example "ok" */
  status!: string;
}
