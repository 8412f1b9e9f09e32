CREATE INDEX "subscriptions_provider_idx" ON "subscriptions" USING btree ("provider","created_at","id");--> statement-breakpoint
CREATE INDEX "subscriptions_status_idx" ON "subscriptions" USING btree ("status","created_at","id");--> statement-breakpoint
CREATE INDEX "subscriptions_ownerless_idx" ON "subscriptions" USING btree ("created_at","id") WHERE "subscriptions"."owner_id" IS NULL;