import { Inject, Injectable } from '@nestjs/common';
import type { Actor } from '../../src/access/principal.js';
import { AuditService, type RecordChange } from '../../src/audit/audit.service.js';
import { newId } from '../../src/platform/crypto/ids.js';
import { DATABASE, type Database, type Queryable } from '../../src/platform/database/database.js';
import { Cursors, type Page } from '../../src/platform/pagination/cursors.service.js';
import { ProjectNameTaken, ProjectNotFound } from './projects.errors.js';
import { ProjectsRepository } from './projects.repository.js';
import type { Project } from './projects.table.js';

@Injectable()
export class ProjectsService {
  private readonly record: RecordChange;

  constructor(
    private readonly repository: ProjectsRepository,
    audit: AuditService,
    private readonly cursors: Cursors,
    @Inject(DATABASE) private readonly db: Database,
  ) {
    this.record = audit.recorder('project');
  }

  async list(organizationId: string, { limit, cursor }: { limit: number; cursor?: string }): Promise<Page<Project>> {
    // The cursor is signed for this list of this organization and refused in any other.
    const list = ['projects', organizationId];
    const after = this.cursors.readTimeAndId(cursor, list);
    const rows = await this.repository.list(organizationId, { limit: limit + 1, after });
    return this.cursors.page(rows, { limit, list, position: ({ createdAt, id }) => [createdAt.toISOString(), id] });
  }

  /** @throws {ProjectNameTaken} */
  async create(organizationId: string, fields: { name: string; description?: string }, actor: Actor, db: Queryable): Promise<Project> {
    const { name, description } = fields;
    const project = await this.repository.insert({ id: newId(), organizationId, name, description }, db);
    if (project === undefined) throw new ProjectNameTaken();
    await this.record('project.created', project, { actor, after: { name } }, db);
    return project;
  }

  /** @throws {ProjectNotFound} */
  async archive(organizationId: string, projectId: string, actor: Actor): Promise<void> {
    await this.db.transaction(async (tx) => {
      const project = await this.repository.archive(organizationId, projectId, tx);
      if (project === undefined) throw new ProjectNotFound();
      const change = { before: { archivedAt: null }, after: { archivedAt: project.archivedAt } };
      await this.record('project.archived', project, { actor, ...change }, tx);
    });
  }
}
