-- no-transaction
-- Searches of members within their organization: an index over the words of all users cannot tell the members of one.
-- Runs again from the start if it was broken off. NULL means: ended, or not filled yet.
ALTER TABLE "organization_memberships" ADD COLUMN IF NOT EXISTS "user_words" "tsvector";--> statement-breakpoint
CREATE OR REPLACE FUNCTION words_of_user(name text, username text, email text) RETURNS text[] LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
  SELECT tsvector_to_array(to_tsvector('simple', name || ' ' || coalesce(username, '') || ' ' || translate(coalesce(email, ''), '@.+-_', '     ')))
$$;
--> statement-breakpoint
-- The end of the id, which is random, keeps the words of one organization together. A search compares the whole id as well.
CREATE OR REPLACE FUNCTION words_in_organization(organization uuid, words text[]) RETURNS tsvector LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
  SELECT array_to_tsvector(ARRAY(SELECT right(organization::text, 8) || word FROM unnest(words) word))
$$;
--> statement-breakpoint
CREATE OR REPLACE FUNCTION query_in_organization(organization uuid, query tsquery) RETURNS tsquery LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
  SELECT regexp_replace(query::text, '''([^'']+)''', '''' || right(organization::text, 8) || '\1''', 'g')::tsquery
$$;
--> statement-breakpoint
-- Shared lock: a change of the user that is under way is waited for, and a later one sees this row.
CREATE OR REPLACE FUNCTION copy_user_name() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
  member users%ROWTYPE;
BEGIN
  IF TG_OP = 'INSERT' OR NEW.user_id <> OLD.user_id OR (OLD.deleted_at IS NOT NULL AND NEW.deleted_at IS NULL) THEN
    SELECT * INTO member FROM users WHERE id = NEW.user_id FOR SHARE;
    NEW.user_name := coalesce(member.name, '');
    NEW.user_words := words_in_organization(NEW.organization_id, words_of_user(NEW.user_name, member.username, member.email));
  END IF;
  IF NEW.deleted_at IS NOT NULL THEN
    NEW.user_words := NULL;
  END IF;
  RETURN NEW;
END
$$;
--> statement-breakpoint
CREATE OR REPLACE TRIGGER organization_memberships_copy_user_name BEFORE INSERT OR UPDATE OF user_id, deleted_at ON organization_memberships
  FOR EACH ROW EXECUTE FUNCTION copy_user_name();
--> statement-breakpoint
CREATE OR REPLACE FUNCTION spread_user_name() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
  words text[] := words_of_user(NEW.name, NEW.username, NEW.email);
BEGIN
  UPDATE organization_memberships SET user_name = NEW.name,
         user_words = CASE WHEN deleted_at IS NULL THEN words_in_organization(organization_id, words) END
   WHERE user_id = NEW.id;
  RETURN NULL;
END
$$;
--> statement-breakpoint
-- Waits for writers of users: their changes are seen below. A deletion clears the address, and ends the memberships in
-- steps, which clear the words: it must not write all of them at once.
CREATE OR REPLACE TRIGGER users_spread_name AFTER UPDATE OF name, username, email ON users FOR EACH ROW
  WHEN (OLD.name IS DISTINCT FROM NEW.name
        OR (NEW.deleted_at IS NULL AND (OLD.username, OLD.email) IS DISTINCT FROM (NEW.username, NEW.email)))
  EXECUTE FUNCTION spread_user_name();
--> statement-breakpoint
-- 500 a transaction. A change at the same time has filled the row, or changes it afterwards.
DO $$
DECLARE
  done uuid := '00000000-0000-0000-0000-000000000000';
  part uuid;
BEGIN
  LOOP
    PERFORM set_config('synchronous_commit', 'off', true);
    SELECT id INTO part FROM (SELECT id FROM organization_memberships WHERE id > done ORDER BY id LIMIT 500) next ORDER BY id DESC LIMIT 1;
    EXIT WHEN NOT FOUND;
    UPDATE organization_memberships m SET user_words = words_in_organization(m.organization_id, words_of_user(u.name, u.username, u.email))
      FROM users u WHERE m.id > done AND m.id <= part AND m.user_words IS NULL AND m.deleted_at IS NULL AND u.id = m.user_id;
    done := part;
    COMMIT;
  END LOOP;
END
$$;
--> statement-breakpoint
DROP INDEX CONCURRENTLY IF EXISTS "organization_memberships_words_idx";--> statement-breakpoint
CREATE INDEX CONCURRENTLY "organization_memberships_words_idx" ON "organization_memberships" USING gin ("user_words") WITH (fastupdate=false) WHERE "organization_memberships"."deleted_at" IS NULL;
--> statement-breakpoint
-- Some that match, by the index: the planner takes a rare word for a common one, and reads everything.
CREATE OR REPLACE FUNCTION matching_members(organization uuid, query text, at_most integer) RETURNS SETOF uuid LANGUAGE sql STABLE ROWS 100
  SET enable_seqscan = off SET enable_indexscan = off SET enable_indexonlyscan = off AS $$
  SELECT id FROM organization_memberships WHERE organization_id = organization AND deleted_at IS NULL
     AND user_words @@ query_in_organization(organization, to_tsquery('simple', query)) LIMIT at_most
$$;
--> statement-breakpoint
CREATE OR REPLACE FUNCTION matching_users(query text, at_most integer) RETURNS SETOF uuid LANGUAGE sql STABLE ROWS 100
  SET enable_seqscan = off SET enable_indexscan = off SET enable_indexonlyscan = off AS $$
  SELECT id FROM users WHERE deleted_at IS NULL
     AND to_tsvector('simple', "name" || ' ' || coalesce("username", '') || ' ' || coalesce("email", '') || ' ' || translate(coalesce("email", ''), '@.+-_', '     ')) @@ to_tsquery('simple', query) LIMIT at_most
$$;
