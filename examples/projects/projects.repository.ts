import { Inject, Injectable } from '@nestjs/common';
import { and, desc, eq, isNull, lt, sql } from 'drizzle-orm';
import { DATABASE, type Database, type Queryable } from '../../src/platform/database/database.js';
import { type Project, projects } from './projects.table.js';

@Injectable()
export class ProjectsRepository {
  constructor(@Inject(DATABASE) private readonly db: Database) {}

  async list(
    organizationId: string,
    { limit, after }: { limit: number; after?: { createdAt: string; id: string } },
    db: Queryable = this.db,
  ): Promise<Project[]> {
    const beyond = after && sql`(${projects.createdAt}, ${projects.id}) < (${after.createdAt}::timestamptz, ${after.id}::uuid)`;
    return db
      .select()
      .from(projects)
      .where(and(eq(projects.organizationId, organizationId), isNull(projects.archivedAt), beyond))
      .orderBy(desc(projects.createdAt), desc(projects.id))
      .limit(limit);
  }

  /** Returns undefined when the name is taken. */
  async insert(project: typeof projects.$inferInsert, db: Queryable): Promise<Project | undefined> {
    const [inserted] = await db.insert(projects).values(project).onConflictDoNothing().returning();
    return inserted;
  }

  async archive(organizationId: string, projectId: string, db: Queryable): Promise<Project | undefined> {
    const [archived] = await db
      .update(projects)
      .set({ archivedAt: sql`now()` })
      .where(and(eq(projects.organizationId, organizationId), eq(projects.id, projectId), isNull(projects.archivedAt)))
      .returning();
    return archived;
  }

  async deleteArchivedBefore(before: Date, limit: number, db: Queryable = this.db): Promise<number> {
    const old = db
      .select({ id: projects.id })
      .from(projects)
      .where(lt(projects.archivedAt, before))
      .limit(limit)
      .for('update', { skipLocked: true });
    const { rowCount } = await db.delete(projects).where(sql`${projects.id} IN (${old})`);
    return rowCount ?? 0;
  }
}
