ALTER TABLE "user_merges" DROP CONSTRAINT "user_merges_id_users_id_fk";
--> statement-breakpoint
CREATE INDEX "user_merges_into_user_id_idx" ON "user_merges" USING btree ("into_user_id");