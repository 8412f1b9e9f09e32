-- no-transaction
-- One table at a time is locked, briefly. Runs again from the start if it was broken off.
CREATE TABLE IF NOT EXISTS "revocation_journals" (
	"id" uuid PRIMARY KEY NOT NULL,
	"last_number" bigint NOT NULL,
	"written_at" timestamp (3) with time zone DEFAULT now() NOT NULL
);
--> statement-breakpoint
CREATE TABLE IF NOT EXISTS "revocations" (
	"id" bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY (sequence name "revocations_id_seq" INCREMENT BY 1 MINVALUE 1 MAXVALUE 9223372036854775807 START WITH 1 CACHE 1),
	"kind" text NOT NULL,
	"subject_id" uuid NOT NULL,
	"details" text,
	"created_at" timestamp (3) with time zone DEFAULT now() NOT NULL
);
--> statement-breakpoint
-- Triggers, so that processes of the earlier release and changes by hand are journaled too (docs/decisions/0074).
CREATE OR REPLACE FUNCTION record_revocation() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO revocations (kind, subject_id) VALUES (TG_ARGV[0], OLD.id);
  RETURN NULL;
END
$$;
--> statement-breakpoint
-- A purge removes thousands of rows of an organization, and the deletion of the organization covers them.
CREATE OR REPLACE FUNCTION record_removal() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO revocations (kind, subject_id, details)
  SELECT TG_ARGV[0], OLD.id, CASE TG_ARGV[0] WHEN 'api_key' THEN now()::text WHEN 'invitation' THEN 'revoked' END
   WHERE EXISTS (SELECT FROM organizations WHERE id = OLD.organization_id AND deleted_at IS NULL);
  RETURN NULL;
END
$$;
--> statement-breakpoint
CREATE OR REPLACE FUNCTION record_key_revocation() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO revocations (kind, subject_id, details) VALUES ('api_key', OLD.id, NEW.revoked_at::text);
  RETURN NULL;
END
$$;
--> statement-breakpoint
CREATE OR REPLACE FUNCTION record_invitation_end() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO revocations (kind, subject_id, details) VALUES ('invitation', OLD.id, NEW.status::text);
  RETURN NULL;
END
$$;
--> statement-breakpoint
-- The hash of the hash: a replay ends this password, and keeps one that was set later.
CREATE OR REPLACE FUNCTION record_password_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO revocations (kind, subject_id, details) VALUES ('password', OLD.id, encode(sha256(convert_to(OLD.password, 'UTF8')), 'hex'));
  RETURN NULL;
END
$$;
--> statement-breakpoint
CREATE OR REPLACE TRIGGER sessions_journal_end AFTER UPDATE OF ended_at ON sessions FOR EACH ROW
  WHEN (OLD.ended_at IS NULL AND NEW.ended_at IS NOT NULL) EXECUTE FUNCTION record_revocation('session');
--> statement-breakpoint
CREATE OR REPLACE TRIGGER sessions_journal_removal AFTER DELETE ON sessions FOR EACH ROW
  WHEN (OLD.ended_at IS NULL AND OLD.expires_at > now()) EXECUTE FUNCTION record_revocation('session');
--> statement-breakpoint
CREATE OR REPLACE TRIGGER api_keys_journal_revocation AFTER UPDATE OF revoked_at ON api_keys FOR EACH ROW
  WHEN (NEW.revoked_at < coalesce(OLD.revoked_at, 'infinity')) EXECUTE FUNCTION record_key_revocation();
--> statement-breakpoint
CREATE OR REPLACE TRIGGER api_keys_journal_removal AFTER DELETE ON api_keys FOR EACH ROW
  WHEN (coalesce(OLD.revoked_at > now(), true)) EXECUTE FUNCTION record_removal('api_key');
--> statement-breakpoint
CREATE OR REPLACE TRIGGER users_journal_deletion AFTER UPDATE OF deleted_at ON users FOR EACH ROW
  WHEN (OLD.deleted_at IS NULL AND NEW.deleted_at IS NOT NULL) EXECUTE FUNCTION record_revocation('user');
--> statement-breakpoint
CREATE OR REPLACE TRIGGER users_journal_removal AFTER DELETE ON users FOR EACH ROW
  WHEN (OLD.deleted_at IS NULL) EXECUTE FUNCTION record_revocation('user');
--> statement-breakpoint
CREATE OR REPLACE TRIGGER users_journal_suspension AFTER UPDATE OF suspended_at ON users FOR EACH ROW
  WHEN (OLD.suspended_at IS NULL AND NEW.suspended_at IS NOT NULL) EXECUTE FUNCTION record_revocation('user_suspension');
--> statement-breakpoint
CREATE OR REPLACE TRIGGER users_journal_ban AFTER UPDATE OF banned ON users FOR EACH ROW
  WHEN (NOT OLD.banned AND NEW.banned) EXECUTE FUNCTION record_revocation('user_ban');
--> statement-breakpoint
CREATE OR REPLACE TRIGGER users_journal_operator AFTER UPDATE OF operator ON users FOR EACH ROW
  WHEN (OLD.operator AND NOT NEW.operator) EXECUTE FUNCTION record_revocation('user_operator');
--> statement-breakpoint
CREATE OR REPLACE TRIGGER users_journal_email AFTER UPDATE OF email ON users FOR EACH ROW
  WHEN (OLD.email IS DISTINCT FROM NEW.email AND OLD.email IS NOT NULL AND NEW.deleted_at IS NULL) EXECUTE FUNCTION record_revocation('user_email');
--> statement-breakpoint
CREATE OR REPLACE TRIGGER accounts_journal_removal AFTER DELETE ON accounts FOR EACH ROW EXECUTE FUNCTION record_revocation('account');
--> statement-breakpoint
CREATE OR REPLACE TRIGGER accounts_journal_password AFTER UPDATE OF password ON accounts FOR EACH ROW
  WHEN (OLD.password IS DISTINCT FROM NEW.password AND OLD.password IS NOT NULL) EXECUTE FUNCTION record_password_change();
--> statement-breakpoint
CREATE OR REPLACE TRIGGER organization_memberships_journal_end AFTER UPDATE OF deleted_at ON organization_memberships FOR EACH ROW
  WHEN (OLD.deleted_at IS NULL AND NEW.deleted_at IS NOT NULL) EXECUTE FUNCTION record_revocation('membership');
--> statement-breakpoint
CREATE OR REPLACE TRIGGER organization_memberships_journal_removal AFTER DELETE ON organization_memberships FOR EACH ROW
  WHEN (OLD.deleted_at IS NULL) EXECUTE FUNCTION record_removal('membership');
--> statement-breakpoint
CREATE OR REPLACE TRIGGER organization_memberships_journal_role AFTER UPDATE OF role ON organization_memberships FOR EACH ROW
  WHEN (OLD.role = 'admin' AND NEW.role <> 'admin') EXECUTE FUNCTION record_revocation('membership_role');
--> statement-breakpoint
CREATE OR REPLACE TRIGGER organizations_journal_deletion AFTER UPDATE OF deleted_at ON organizations FOR EACH ROW
  WHEN (OLD.deleted_at IS NULL AND NEW.deleted_at IS NOT NULL) EXECUTE FUNCTION record_revocation('organization');
--> statement-breakpoint
CREATE OR REPLACE TRIGGER organizations_journal_removal AFTER DELETE ON organizations FOR EACH ROW
  WHEN (OLD.deleted_at IS NULL) EXECUTE FUNCTION record_revocation('organization');
--> statement-breakpoint
CREATE OR REPLACE TRIGGER invitations_journal_end AFTER UPDATE OF status ON invitations FOR EACH ROW
  WHEN (OLD.status = 'pending' AND NEW.status <> 'pending') EXECUTE FUNCTION record_invitation_end();
--> statement-breakpoint
CREATE OR REPLACE TRIGGER invitations_journal_removal AFTER DELETE ON invitations FOR EACH ROW
  WHEN (OLD.status = 'pending') EXECUTE FUNCTION record_removal('invitation');
