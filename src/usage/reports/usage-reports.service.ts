import { Readable } from 'node:stream';
import { Injectable } from '@nestjs/common';
import { Clock } from '../../platform/time/clock.service.js';
import { InvalidRequest } from '../../platform/problems/problems.errors.js';
import { Cursors, type Page } from '../../platform/pagination/cursors.service.js';
import type { Range } from '../../platform/time/moments.js';
import type { Owner } from '../../owners/owner.js';
import { PricesService } from '../../prices/prices.service.js';
import { CALENDAR_UNITS, type CalendarUnit, cutByCalendar } from './calendar.js';
import { csvLine } from './csv.js';
import { TooManyGroups } from './usage-reports.errors.js';
import type { UsageRecord } from '../events/usage-events.table.js';
import { type RecordPosition, type UsageFilters, UsageReportsRepository } from './usage-reports.repository.js';
import { SummedUsageRepository } from './summed-usage.repository.js';
import { sumGroups, keyedGroups, calendarGroups, segmentsOf, type UsageGroup, type UsageSlice, type UsageTotal } from './usage-summary.js';
import { HOUR_MS } from '../../platform/time/durations.js';

export const GROUPINGS = [...CALENDAR_UNITS, 'model', 'user'] as const;
export type UsageGrouping = (typeof GROUPINGS)[number];

const DEFAULT_HOURS = 30 * 24;

const MAX_GROUPS = 1000;
/** Costs need a slice for each model and price. */
const MAX_PARTS = 50_000;

const EXPORT_PAGE = 1000;
const BYTE_ORDER_MARK = '\uFEFF';
const EXPORT_COLUMNS = [
  'eventId',
  'occurredAt',
  'model',
  'userId',
  'inputTokens',
  'outputTokens',
  'cachedInputTokens',
  'reasoningTokens',
  'tokens',
  'overrun',
  'holdId',
  'metadata',
  'createdAt',
];

export interface SummaryQuery {
  from?: Date;
  to?: Date;
  groupBy: UsageGrouping;
  timeZone: string;
  cost: boolean;
}

export interface UsageSummary extends Range {
  timeZone: string;
  groupBy: UsageGrouping;
  groups: UsageGroup[];
  total: UsageTotal;
}

@Injectable()
export class UsageReportsService {
  constructor(
    private readonly repository: UsageReportsRepository,
    private readonly sums: SummedUsageRepository,
    private readonly prices: PricesService,
    private readonly cursors: Cursors,
    private readonly clock: Clock,
  ) {}

  /** Newest first. */
  async list(
    owner: Owner,
    { limit, cursor, from, to, model, userId }: UsageFilters & { limit: number; cursor?: string },
  ): Promise<Page<UsageRecord>> {
    const filters = { from, to, model, userId };
    const list = ['usage', owner, filters];
    const [occurredAt, eventId, ownerId] = (this.cursors.read(cursor, list) ?? []).map(String);
    const after = occurredAt === undefined ? undefined : { occurredAt, eventId: eventId!, ownerId: ownerId! };
    const read = await this.reader(owner, filters);
    const rows = await read(limit + 1, after);
    return this.cursors.page(rows, { limit, list, position: (row) => Object.values(positionOf(row)) });
  }

  /**
   * Streams CSV page by page, as fast as the caller reads. Failures before the first page become a problem response;
   * later ones break the stream.
   */
  async export(owner: Owner, { bom, ...filters }: UsageFilters & { bom: boolean }): Promise<Readable> {
    const read = await this.reader(owner, filters);
    const first = await read(EXPORT_PAGE);
    // Buffers one page, not the default of sixteen.
    return Readable.from(pagesOf(bom ? BYTE_ORDER_MARK : '', first, read), { highWaterMark: 1 });
  }

  /** @throws {InvalidRequest} @throws {TooManyGroups} */
  async summarize(owner: Owner, { groupBy, timeZone, cost, ...given }: SummaryQuery): Promise<UsageSummary> {
    const range = this.rangeOf(given);
    const buckets = isCalendarUnit(groupBy)
      ? cutByCalendar(groupBy, range, timeZone, MAX_GROUPS)
      : [{ key: '', start: range.from, end: range.to }];
    if (buckets === undefined) throw new TooManyGroups();
    const [ownerIds, book] = await Promise.all([this.repository.listIds(owner), cost ? this.prices.loadBookBefore(range.to) : undefined]);
    const segments = segmentsOf(buckets, book?.changesBetween(range.from, range.to) ?? []);
    const by = { byModel: cost || groupBy === 'model', byUser: groupBy === 'user' };
    const starts = segments.map(({ start }) => start);
    const query = { ...range, ...by, segments: starts };
    if (by.byUser && (await this.sums.hasMoreUsers(ownerIds, range, MAX_GROUPS))) throw new TooManyGroups();
    const parts = await this.sums.sumUp(ownerIds, query, MAX_PARTS + 1);
    const keyOf = (part: UsageSlice) =>
      groupBy === 'model' ? part.model : groupBy === 'user' ? part.userId : segments[part.segment]!.bucket;
    const { byKey, total } = sumGroups(parts, { segments, keyOf, book });
    if (parts.length > MAX_PARTS || byKey.size > MAX_GROUPS) throw new TooManyGroups();
    const groups = isCalendarUnit(groupBy)
      ? calendarGroups(buckets, byKey, sumGroups([], { segments, keyOf, book }).total)
      : keyedGroups(byKey);
    return { ...range, timeZone, groupBy, groups, total };
  }

  /** By default 30 days up to the end of the current hour: whole hours are read from rollups alone. */
  private rangeOf({ from, to }: Partial<Range>): Range {
    const end = to?.getTime() ?? (Math.floor(this.clock.now().getTime() / HOUR_MS) + 1) * HOUR_MS;
    const range = { from: from ?? new Date(end - DEFAULT_HOURS * HOUR_MS), to: new Date(end) };
    if (range.from < range.to) return range;
    throw new InvalidRequest({ errors: [{ field: 'from', message: 'from must be before to' }] });
  }

  private async reader(owner: Owner, { userId, ...filters }: UsageFilters) {
    const [ownerIds, actorIds] = await Promise.all([
      this.repository.listIds(owner),
      userId === undefined ? undefined : this.repository.listIds({ kind: 'user', id: userId }),
    ]);
    return async (limit: number, after?: RecordPosition) =>
      this.repository.listRecords(ownerIds, { ...filters, actorIds }, { limit, after });
  }
}

function isCalendarUnit(groupBy: UsageGrouping): groupBy is CalendarUnit {
  return (CALENDAR_UNITS as readonly string[]).includes(groupBy);
}

function positionOf({ occurredAt, eventId, ownerId }: UsageRecord): RecordPosition {
  return { occurredAt: occurredAt.toISOString(), eventId, ownerId };
}

async function* pagesOf(
  start: string,
  first: UsageRecord[],
  read: (limit: number, after?: RecordPosition) => Promise<UsageRecord[]>,
): AsyncGenerator<string> {
  yield `${start}${csvLine(EXPORT_COLUMNS)}${first.map(lineOf).join('')}`;
  for (let page = first; page.length === EXPORT_PAGE;) {
    page = await read(EXPORT_PAGE, positionOf(page.at(-1)!));
    if (page.length > 0) yield page.map(lineOf).join('');
  }
}

/** In the order of `EXPORT_COLUMNS`. */
function lineOf(record: UsageRecord): string {
  return csvLine([
    record.eventId,
    record.occurredAt.toISOString(),
    record.model,
    record.actorUserId,
    record.inputTokens,
    record.outputTokens,
    record.cachedInputTokens,
    record.reasoningTokens,
    record.tokensUsed,
    record.overrun,
    record.holdId,
    record.metadata === null ? null : JSON.stringify(record.metadata),
    record.createdAt.toISOString(),
  ]);
}
