ALTER TABLE "organization_memberships" ADD COLUMN "user_name" text DEFAULT '' NOT NULL;--> statement-breakpoint
UPDATE organization_memberships m SET user_name = u.name FROM users u WHERE u.id = m.user_id;--> statement-breakpoint
CREATE INDEX "organization_memberships_name_idx" ON "organization_memberships" USING btree ("organization_id","user_name","id") WHERE "organization_memberships"."deleted_at" IS NULL;--> statement-breakpoint
CREATE INDEX "organization_memberships_role_idx" ON "organization_memberships" USING btree ("organization_id","role","created_at","id");--> statement-breakpoint
-- Shared lock: a change of the name that is under way is waited for, and a later one sees this row.
CREATE FUNCTION copy_user_name() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  NEW.user_name := coalesce((SELECT name FROM users WHERE id = NEW.user_id FOR SHARE), '');
  RETURN NEW;
END
$$;
--> statement-breakpoint
CREATE TRIGGER organization_memberships_copy_user_name BEFORE INSERT OR UPDATE OF user_id ON organization_memberships FOR EACH ROW EXECUTE FUNCTION copy_user_name();
--> statement-breakpoint
CREATE FUNCTION spread_user_name() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  UPDATE organization_memberships SET user_name = NEW.name WHERE user_id = NEW.id;
  RETURN NULL;
END
$$;
--> statement-breakpoint
CREATE TRIGGER users_spread_name AFTER UPDATE OF name ON users FOR EACH ROW WHEN (OLD.name IS DISTINCT FROM NEW.name) EXECUTE FUNCTION spread_user_name();
