import { Injectable } from '@nestjs/common';
import type { Owner } from '../../owners/owner.js';
import { Cursors, type Page } from '../../platform/pagination/cursors.service.js';
import type { PaymentState } from './payments.table.js';
import { PaymentsRepository, type SubscriptionPayment } from './payments.repository.js';

@Injectable()
export class PaymentsService {
  constructor(
    private readonly repository: PaymentsRepository,
    private readonly cursors: Cursors,
  ) {}

  async list(
    owner: Owner,
    { limit, cursor, status }: { limit: number; cursor?: string; status?: PaymentState },
  ): Promise<Page<SubscriptionPayment>> {
    const list = ['payments', owner, status];
    const after = this.cursors.readTimeAndId(cursor, list);
    const rows = await this.repository.list(owner, status, { limit: limit + 1, after });
    return this.cursors.page(rows, { limit, list, position: ({ occurredAt, id }) => [occurredAt.toISOString(), id] });
  }
}
