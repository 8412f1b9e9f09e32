CREATE TABLE "subscription_periods" (
	"subscription_id" uuid NOT NULL,
	"starts_at" timestamp (3) with time zone NOT NULL,
	"ends_at" timestamp (3) with time zone NOT NULL,
	"event_at" timestamp(6) with time zone DEFAULT '-infinity' NOT NULL,
	"event_modified_at" timestamp(6) with time zone DEFAULT '-infinity' NOT NULL,
	"event_rank" smallint DEFAULT 0 NOT NULL,
	"event_id" text DEFAULT '' NOT NULL,
	CONSTRAINT "subscription_periods_subscription_id_starts_at_pk" PRIMARY KEY("subscription_id","starts_at"),
	CONSTRAINT "subscription_periods_forward" CHECK ("subscription_periods"."ends_at" > "subscription_periods"."starts_at")
);
--> statement-breakpoint
ALTER TABLE "subscription_periods" ADD CONSTRAINT "subscription_periods_subscription_id_subscriptions_id_fk" FOREIGN KEY ("subscription_id") REFERENCES "public"."subscriptions"("id") ON DELETE cascade ON UPDATE no action;