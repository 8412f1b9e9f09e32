import { applyDecorators } from '@nestjs/common';
import { ApiOkResponse, ApiProduces } from '@nestjs/swagger';

export const CSV_FILE = {
  type: 'text/csv; charset=utf-8; header=present',
  disposition: 'attachment; filename="usage.csv"',
};

/** Documents a CSV download. */
export const ApiCsvResponse = (): MethodDecorator =>
  applyDecorators(
    ApiProduces('text/csv'),
    ApiOkResponse({
      description: 'One line for each event. If the connection breaks, the file is incomplete.',
      schema: { type: 'string', example: 'eventId,occurredAt,model,userId\r\nrun-7731-step-2,2026-11-01T09:30:00.000Z,gpt-5-mini,\r\n' },
    }),
  );
