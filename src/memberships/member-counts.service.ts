import { Injectable } from '@nestjs/common';
import { Reconciler } from '../sync/reconciler.service.js';
import type {
  Comparison,
  Finding,
  Reconciliation,
  ReconciliationOptions,
  ReconciliationSource,
  ReconciliationSummary,
} from '../sync/reconciliation.port.js';
import { CountedMembershipsRepository, type OrganizationRange } from './counted-memberships.repository.js';
import { MembershipsRepository } from './memberships.repository.js';

/** Compares the member counts of organizations with their memberships (docs/decisions/0063). */
@Injectable()
export class MemberCountReconciliation implements Reconciliation, ReconciliationSource {
  constructor(
    private readonly repository: CountedMembershipsRepository,
    private readonly memberships: MembershipsRepository,
    private readonly reconciler: Reconciler,
  ) {}

  async reconcile(options?: ReconciliationOptions): Promise<ReconciliationSummary> {
    return this.reconciler.reconcile([this], options);
  }

  async *comparisons(): AsyncGenerator<Comparison, void> {
    for (let range = await this.repository.findNextRange(); range !== undefined;) {
      const current = range;
      yield () => this.compare(current);
      range = await this.repository.findNextRange(current.last);
    }
  }

  private async compare(range: OrganizationRange): Promise<Finding[]> {
    const differences = await this.repository.listDifferences(range);
    return differences.map(({ organizationId, kept, counted }) => ({
      kind: 'stale',
      resource: 'member count',
      id: organizationId,
      details: [`${kept} instead of ${counted}`],
      repair: async (tx) => {
        await this.memberships.lockOrganizations([organizationId], tx);
        await this.repository.recount(organizationId, tx);
      },
    }));
  }
}
