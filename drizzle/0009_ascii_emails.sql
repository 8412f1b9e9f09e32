-- no-transaction
-- A new check is not validated under the lock that adds it. Every row that the old one let in has no capital ASCII
-- letter in any locale, so validation cannot fail. Each statement may run again after one that was broken off.
ALTER TABLE "users" DROP CONSTRAINT IF EXISTS "users_email_ascii_lower_case", ADD CONSTRAINT "users_email_ascii_lower_case" CHECK ("users"."email" = lower("users"."email" COLLATE "C")) NOT VALID;--> statement-breakpoint
ALTER TABLE "users" VALIDATE CONSTRAINT "users_email_ascii_lower_case";--> statement-breakpoint
ALTER TABLE "users" DROP CONSTRAINT IF EXISTS "users_email_lower_case";--> statement-breakpoint
ALTER TABLE "invitations" DROP CONSTRAINT IF EXISTS "invitations_email_ascii_lower_case", ADD CONSTRAINT "invitations_email_ascii_lower_case" CHECK ("invitations"."email" = lower("invitations"."email" COLLATE "C")) NOT VALID;--> statement-breakpoint
ALTER TABLE "invitations" VALIDATE CONSTRAINT "invitations_email_ascii_lower_case";--> statement-breakpoint
ALTER TABLE "invitations" DROP CONSTRAINT IF EXISTS "invitations_email_lower_case";
