import { ApiSchema } from '@nestjs/swagger';
@ApiSchema({ description: 'The result of a health check.' })
export class HealthResponse {
  /** Always `ok`: a failed check is a problem. @example "ok" */
  status!: string;
}
