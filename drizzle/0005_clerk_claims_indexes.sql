-- no-transaction
-- Beside writers, and again from the start if it was broken off: an index that is not finished has the name already.
DROP INDEX CONCURRENTLY IF EXISTS "organizations_clerk_slug_idx";--> statement-breakpoint
CREATE INDEX CONCURRENTLY "organizations_clerk_slug_idx" ON "organizations" USING btree ("clerk_slug") WHERE "organizations"."clerk_slug" IS NOT NULL;--> statement-breakpoint
DROP INDEX CONCURRENTLY IF EXISTS "users_clerk_email_idx";--> statement-breakpoint
CREATE INDEX CONCURRENTLY "users_clerk_email_idx" ON "users" USING btree ("clerk_email") WHERE "users"."clerk_email" IS NOT NULL;
