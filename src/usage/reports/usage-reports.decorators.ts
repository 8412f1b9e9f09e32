import { applyDecorators } from '@nestjs/common';
import { ApiOkResponse, ApiProduces } from '@nestjs/swagger';

/** How the file is called and told. */
export const CSV_FILE = {
  type: 'text/csv; charset=utf-8; header=present',
  disposition: 'attachment; filename="usage.csv"',
};

/** Documents a table as a file. It is complete only if the connection ends as HTTP says it does. */
export const CsvAnswer = (): MethodDecorator =>
  applyDecorators(
    ApiProduces('text/csv'),
    ApiOkResponse({
      description: 'One line for each record. If the connection breaks before its end, lines are missing.',
      schema: { type: 'string', example: 'eventId,occurredAt,model,userId\r\nrun-7731-step-2,2026-11-01T09:30:00.000Z,gpt-5-mini,\r\n' },
    }),
  );
