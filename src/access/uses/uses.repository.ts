import { Inject, Injectable } from '@nestjs/common';
import { Config } from '../../platform/config/config.js';
import { DATABASE, type Database } from '../../platform/database/database.js';

/** The end of a sliding session that is used now: never beyond its absolute end, and never earlier than before. */
export const extendedEnd = (session: string, { sessionIdleSeconds, sessionAbsoluteSeconds }: Config) =>
  `greatest(${session}.expires_at, least(now() + interval '${sessionIdleSeconds} seconds', ${session}.created_at + interval '${sessionAbsoluteSeconds} seconds'))`;

/** `synchronous_commit` is off for these statements, because the next use repeats a lost one. */
const WITHOUT_WAITING = `set_config('synchronous_commit', 'off', true)`;

const SESSIONS = (config: Config) => `
  UPDATE sessions s
     SET last_used_at = now(), updated_at = now(), expires_at = CASE WHEN s.sliding THEN ${extendedEnd('s', config)} ELSE s.expires_at END
   WHERE s.id IN (SELECT id FROM sessions
                   WHERE id = ANY ($1::uuid[]) AND last_used_at < now() - interval '${config.sessionTouchSeconds} seconds'
                     AND expires_at > now() AND ended_at IS NULL
                   ORDER BY id FOR NO KEY UPDATE SKIP LOCKED)
  RETURNING ${WITHOUT_WAITING}`;

const API_KEYS = `
  UPDATE api_keys SET last_used_at = now()
   WHERE id IN (SELECT id FROM api_keys
                 WHERE id = ANY ($1::uuid[]) AND (revoked_at IS NULL OR revoked_at > now()) AND (expires_at IS NULL OR expires_at > now())
                   AND (last_used_at IS NULL OR last_used_at < now() - interval '1 minute')
                 ORDER BY id FOR NO KEY UPDATE SKIP LOCKED)
  RETURNING ${WITHOUT_WAITING}`;

/** Skips rows that are locked, expired, ended or revoked, so that a late use restores nothing and waits for nobody. */
@Injectable()
export class UsesRepository {
  private readonly sessions: string;

  constructor(
    @Inject(DATABASE) private readonly db: Database,
    config: Config,
  ) {
    this.sessions = SESSIONS(config);
  }

  async recordSessions(ids: string[]): Promise<void> {
    await this.run('access_use_sessions', this.sessions, ids);
  }

  async recordApiKeys(ids: string[]): Promise<void> {
    await this.run('access_use_api_keys', API_KEYS, ids);
  }

  private async run(name: string, text: string, ids: string[]): Promise<void> {
    const written: Promise<unknown> = this.db.$client.query({ name, text, values: [ids] });
    await written;
  }
}
