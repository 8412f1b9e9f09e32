-- no-transaction
-- One table at a time is locked, briefly. Runs again from the start if it was broken off. NULL means: not counted yet.
ALTER TABLE "organizations" ADD COLUMN IF NOT EXISTS "member_count" integer;--> statement-breakpoint
-- By statement: ending thousands of members writes the row once. In the order of ids, so that two statements cannot deadlock.
CREATE OR REPLACE FUNCTION count_members() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
  changes refcursor;
  organization uuid;
  change integer;
BEGIN
  IF TG_OP = 'INSERT' THEN
    OPEN changes FOR SELECT organization_id, count(*) FROM added WHERE deleted_at IS NULL GROUP BY 1 ORDER BY 1;
  ELSIF TG_OP = 'DELETE' THEN
    OPEN changes FOR SELECT organization_id, -count(*) FROM removed WHERE deleted_at IS NULL GROUP BY 1 ORDER BY 1;
  ELSE
    OPEN changes FOR SELECT organization_id, sum(one) FROM (
      SELECT organization_id, 1 AS one FROM added WHERE deleted_at IS NULL
      UNION ALL SELECT organization_id, -1 FROM removed WHERE deleted_at IS NULL
    ) live GROUP BY 1 HAVING sum(one) <> 0 ORDER BY 1;
  END IF;
  LOOP
    FETCH changes INTO organization, change;
    EXIT WHEN NOT FOUND;
    UPDATE organizations SET member_count = member_count + change WHERE id = organization;
  END LOOP;
  CLOSE changes;
  RETURN NULL;
END
$$;
--> statement-breakpoint
CREATE OR REPLACE TRIGGER organization_memberships_count_added AFTER INSERT ON organization_memberships REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION count_members();
--> statement-breakpoint
CREATE OR REPLACE TRIGGER organization_memberships_count_removed AFTER DELETE ON organization_memberships REFERENCING OLD TABLE AS removed FOR EACH STATEMENT EXECUTE FUNCTION count_members();
--> statement-breakpoint
CREATE OR REPLACE TRIGGER organization_memberships_count_changed AFTER UPDATE ON organization_memberships REFERENCING OLD TABLE AS removed NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION count_members();
--> statement-breakpoint
-- After the triggers: an organization that is created from here on is counted from its first member.
ALTER TABLE "organizations" ALTER COLUMN "member_count" SET DEFAULT 0;--> statement-breakpoint
-- One organization a transaction. The lock waits for changes under way, the count sees them, and a later change adds to it.
DO $$
DECLARE
  current uuid := '00000000-0000-0000-0000-000000000000';
BEGIN
  LOOP
    PERFORM set_config('synchronous_commit', 'off', true);
    SELECT id INTO current FROM organizations WHERE id > current AND member_count IS NULL ORDER BY id LIMIT 1 FOR NO KEY UPDATE;
    EXIT WHEN NOT FOUND;
    UPDATE organizations SET member_count = (
      SELECT count(*) FROM organization_memberships WHERE organization_id = current AND deleted_at IS NULL
    ) WHERE id = current;
    COMMIT;
  END LOOP;
END
$$;
--> statement-breakpoint
-- The constraint is checked beside writers and spares SET NOT NULL the scan under its lock.
ALTER TABLE "organizations" DROP CONSTRAINT IF EXISTS "organizations_member_count_known";--> statement-breakpoint
ALTER TABLE "organizations" ADD CONSTRAINT "organizations_member_count_known" CHECK (member_count IS NOT NULL) NOT VALID;--> statement-breakpoint
ALTER TABLE "organizations" VALIDATE CONSTRAINT "organizations_member_count_known";--> statement-breakpoint
ALTER TABLE "organizations" ALTER COLUMN "member_count" SET NOT NULL;--> statement-breakpoint
ALTER TABLE "organizations" DROP CONSTRAINT "organizations_member_count_known";
