CREATE TYPE "public"."webhook_event_status" AS ENUM('pending', 'processed', 'ignored', 'quarantined', 'dead');--> statement-breakpoint
CREATE TABLE "user_merges" (
	"id" uuid PRIMARY KEY NOT NULL,
	"into_user_id" uuid NOT NULL,
	"email" text NOT NULL,
	"event_at" timestamp(6) with time zone DEFAULT '-infinity' NOT NULL,
	"event_modified_at" timestamp(6) with time zone DEFAULT '-infinity' NOT NULL,
	"event_rank" smallint DEFAULT 0 NOT NULL,
	"event_id" text DEFAULT '' NOT NULL,
	"account_ids" uuid[] NOT NULL,
	"session_ids" uuid[] NOT NULL,
	"membership_ids" uuid[] NOT NULL,
	"created_at" timestamp (3) with time zone DEFAULT now() NOT NULL
);
--> statement-breakpoint
CREATE TABLE "webhook_events" (
	"id" uuid PRIMARY KEY NOT NULL,
	"provider" text NOT NULL,
	"message_id" text NOT NULL,
	"type" text NOT NULL,
	"event_at" timestamp(6) with time zone,
	"body" "bytea",
	"status" "webhook_event_status" DEFAULT 'pending' NOT NULL,
	"attempts" integer DEFAULT 0 NOT NULL,
	"next_attempt_at" timestamp (3) with time zone DEFAULT now() NOT NULL,
	"leased_until" timestamp (3) with time zone,
	"last_error" text,
	"received_at" timestamp (3) with time zone DEFAULT now() NOT NULL,
	"processed_at" timestamp (3) with time zone,
	"updated_at" timestamp (3) with time zone DEFAULT now() NOT NULL,
	CONSTRAINT "webhook_events_provider_message_id_key" UNIQUE("provider","message_id")
);
--> statement-breakpoint
ALTER TABLE "invitations" ADD COLUMN "clerk_role" text;--> statement-breakpoint
ALTER TABLE "invitations" ADD COLUMN "event_at" timestamp(6) with time zone DEFAULT '-infinity' NOT NULL;--> statement-breakpoint
ALTER TABLE "invitations" ADD COLUMN "event_modified_at" timestamp(6) with time zone DEFAULT '-infinity' NOT NULL;--> statement-breakpoint
ALTER TABLE "invitations" ADD COLUMN "event_rank" smallint DEFAULT 0 NOT NULL;--> statement-breakpoint
ALTER TABLE "invitations" ADD COLUMN "event_id" text DEFAULT '' NOT NULL;--> statement-breakpoint
ALTER TABLE "organization_memberships" ADD COLUMN "clerk_role" text;--> statement-breakpoint
ALTER TABLE "organization_memberships" ADD COLUMN "event_at" timestamp(6) with time zone DEFAULT '-infinity' NOT NULL;--> statement-breakpoint
ALTER TABLE "organization_memberships" ADD COLUMN "event_modified_at" timestamp(6) with time zone DEFAULT '-infinity' NOT NULL;--> statement-breakpoint
ALTER TABLE "organization_memberships" ADD COLUMN "event_rank" smallint DEFAULT 0 NOT NULL;--> statement-breakpoint
ALTER TABLE "organization_memberships" ADD COLUMN "event_id" text DEFAULT '' NOT NULL;--> statement-breakpoint
ALTER TABLE "organizations" ADD COLUMN "clerk_slug" text;--> statement-breakpoint
ALTER TABLE "organizations" ADD COLUMN "event_at" timestamp(6) with time zone DEFAULT '-infinity' NOT NULL;--> statement-breakpoint
ALTER TABLE "organizations" ADD COLUMN "event_modified_at" timestamp(6) with time zone DEFAULT '-infinity' NOT NULL;--> statement-breakpoint
ALTER TABLE "organizations" ADD COLUMN "event_rank" smallint DEFAULT 0 NOT NULL;--> statement-breakpoint
ALTER TABLE "organizations" ADD COLUMN "event_id" text DEFAULT '' NOT NULL;--> statement-breakpoint
ALTER TABLE "users" ADD COLUMN "clerk_email" text;--> statement-breakpoint
ALTER TABLE "users" ADD COLUMN "clerk_email_verified" boolean DEFAULT false NOT NULL;--> statement-breakpoint
ALTER TABLE "users" ADD COLUMN "banned" boolean DEFAULT false NOT NULL;--> statement-breakpoint
ALTER TABLE "users" ADD COLUMN "event_at" timestamp(6) with time zone DEFAULT '-infinity' NOT NULL;--> statement-breakpoint
ALTER TABLE "users" ADD COLUMN "event_modified_at" timestamp(6) with time zone DEFAULT '-infinity' NOT NULL;--> statement-breakpoint
ALTER TABLE "users" ADD COLUMN "event_rank" smallint DEFAULT 0 NOT NULL;--> statement-breakpoint
ALTER TABLE "users" ADD COLUMN "event_id" text DEFAULT '' NOT NULL;--> statement-breakpoint
ALTER TABLE "user_merges" ADD CONSTRAINT "user_merges_id_users_id_fk" FOREIGN KEY ("id") REFERENCES "public"."users"("id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
CREATE INDEX "user_merges_email_idx" ON "user_merges" USING btree ("email");--> statement-breakpoint
CREATE INDEX "webhook_events_due_idx" ON "webhook_events" USING btree ("next_attempt_at") WHERE "webhook_events"."status" = 'pending';--> statement-breakpoint
CREATE INDEX "webhook_events_received_at_id_idx" ON "webhook_events" USING btree ("received_at","id");--> statement-breakpoint
CREATE INDEX "webhook_events_status_received_at_id_idx" ON "webhook_events" USING btree ("status","received_at","id") WHERE "webhook_events"."status" IN ('ignored', 'quarantined', 'dead');--> statement-breakpoint
CREATE INDEX "webhook_events_body_idx" ON "webhook_events" USING btree ("received_at") WHERE "webhook_events"."body" IS NOT NULL AND "webhook_events"."status" IN ('processed', 'ignored');