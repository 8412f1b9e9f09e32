-- no-transaction
-- Each by itself: an effect locks the inbox and then the outbox, so both in one transaction could deadlock with it.
ALTER TABLE "outbox" ADD COLUMN IF NOT EXISTS "traceparent" text;--> statement-breakpoint
ALTER TABLE "webhook_events" ADD COLUMN IF NOT EXISTS "traceparent" text;
