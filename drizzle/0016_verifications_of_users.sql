-- no-transaction
-- Every statement can run again, and none locks a table while it reads rows.
ALTER TABLE "verifications" ADD COLUMN IF NOT EXISTS "user_id" uuid;--> statement-breakpoint
-- A reset holds the bare id; a change of email and the state of linking a provider hold it in JSON.
UPDATE "verifications" AS v SET "user_id" = u."id"
  FROM (SELECT "id", CASE WHEN "owner" ~ '^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$' THEN "owner"::uuid END AS "owner"
          FROM (SELECT "id", CASE WHEN "value" LIKE '{%'
                               THEN coalesce("value"::json ->> 'userId', "value"::json #>> '{link,userId}')
                               ELSE "value" END AS "owner" FROM "verifications") AS r) AS o
  JOIN "users" AS u ON u."id" = o."owner"
 WHERE v."id" = o."id" AND v."user_id" IS NULL;--> statement-breakpoint
ALTER TABLE "verifications" DROP CONSTRAINT IF EXISTS "verifications_user_id_users_id_fk";--> statement-breakpoint
ALTER TABLE "verifications" ADD CONSTRAINT "verifications_user_id_users_id_fk" FOREIGN KEY ("user_id") REFERENCES "public"."users"("id") ON DELETE cascade ON UPDATE no action NOT VALID;--> statement-breakpoint
ALTER TABLE "verifications" VALIDATE CONSTRAINT "verifications_user_id_users_id_fk";--> statement-breakpoint
DROP INDEX CONCURRENTLY IF EXISTS "verifications_user_id_idx";--> statement-breakpoint
CREATE INDEX CONCURRENTLY "verifications_user_id_idx" ON "verifications" USING btree ("user_id");--> statement-breakpoint
DROP INDEX CONCURRENTLY IF EXISTS "verifications_value_idx";
