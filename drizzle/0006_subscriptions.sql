CREATE TYPE "public"."billing_provider" AS ENUM('polar', 'dodo', 'manual');--> statement-breakpoint
CREATE TYPE "public"."owner_kind" AS ENUM('user', 'organization');--> statement-breakpoint
CREATE TYPE "public"."billing_walk_phase" AS ENUM('theirs', 'ours');--> statement-breakpoint
CREATE TYPE "public"."payment_kind" AS ENUM('payment', 'refund', 'dispute');--> statement-breakpoint
CREATE TYPE "public"."payment_status" AS ENUM('pending', 'succeeded', 'failed', 'canceled', 'partially_refunded', 'refunded', 'won', 'lost', 'unknown');--> statement-breakpoint
CREATE TYPE "public"."subscription_status" AS ENUM('incomplete', 'trialing', 'active', 'past_due', 'paused', 'unpaid', 'canceled');--> statement-breakpoint
CREATE TYPE "public"."tier" AS ENUM('free', 'pro', 'business');--> statement-breakpoint
CREATE TABLE "billing_customers" (
	"id" uuid PRIMARY KEY NOT NULL,
	"provider" "billing_provider" NOT NULL,
	"provider_customer_id" text NOT NULL,
	"owner_kind" "owner_kind",
	"owner_id" uuid,
	"owner_linked" boolean DEFAULT false NOT NULL,
	"owner_claims" text[] DEFAULT '{}' NOT NULL,
	"deleted_at" timestamp (3) with time zone,
	"event_at" timestamp(6) with time zone DEFAULT '-infinity' NOT NULL,
	"event_modified_at" timestamp(6) with time zone DEFAULT '-infinity' NOT NULL,
	"event_rank" smallint DEFAULT 0 NOT NULL,
	"event_id" text DEFAULT '' NOT NULL,
	"created_at" timestamp (3) with time zone DEFAULT now() NOT NULL,
	"updated_at" timestamp (3) with time zone DEFAULT now() NOT NULL,
	CONSTRAINT "billing_customers_provider_customer_key" UNIQUE("provider","provider_customer_id"),
	CONSTRAINT "billing_customers_owner_whole" CHECK (("billing_customers"."owner_id" IS NULL) = ("billing_customers"."owner_kind" IS NULL))
);
--> statement-breakpoint
CREATE TABLE "billing_walks" (
	"provider" "billing_provider" PRIMARY KEY NOT NULL,
	"phase" "billing_walk_phase" NOT NULL,
	"position" text,
	"created_at" timestamp (3) with time zone DEFAULT now() NOT NULL,
	"updated_at" timestamp (3) with time zone DEFAULT now() NOT NULL
);
--> statement-breakpoint
CREATE TABLE "payments" (
	"id" uuid PRIMARY KEY NOT NULL,
	"provider" "billing_provider" NOT NULL,
	"kind" "payment_kind" NOT NULL,
	"provider_payment_id" text NOT NULL,
	"provider_customer_id" text NOT NULL,
	"provider_subscription_id" text,
	"of_provider_payment_id" text,
	"owner_kind" "owner_kind",
	"owner_id" uuid,
	"owner_claims" text[] DEFAULT '{}' NOT NULL,
	"amount" bigint,
	"currency" text,
	"status" "payment_status" NOT NULL,
	"provider_status" text,
	"occurred_at" timestamp (3) with time zone NOT NULL,
	"event_at" timestamp(6) with time zone DEFAULT '-infinity' NOT NULL,
	"event_modified_at" timestamp(6) with time zone DEFAULT '-infinity' NOT NULL,
	"event_rank" smallint DEFAULT 0 NOT NULL,
	"event_id" text DEFAULT '' NOT NULL,
	"created_at" timestamp (3) with time zone DEFAULT now() NOT NULL,
	"updated_at" timestamp (3) with time zone DEFAULT now() NOT NULL,
	CONSTRAINT "payments_provider_payment_key" UNIQUE("provider","kind","provider_payment_id"),
	CONSTRAINT "payments_owner_whole" CHECK (("payments"."owner_id" IS NULL) = ("payments"."owner_kind" IS NULL))
);
--> statement-breakpoint
CREATE TABLE "subscription_products" (
	"subscription_id" uuid NOT NULL,
	"product_id" text NOT NULL,
	"event_at" timestamp(6) with time zone DEFAULT '-infinity' NOT NULL,
	"event_modified_at" timestamp(6) with time zone DEFAULT '-infinity' NOT NULL,
	"event_rank" smallint DEFAULT 0 NOT NULL,
	"event_id" text DEFAULT '' NOT NULL,
	CONSTRAINT "subscription_products_subscription_id_product_id_pk" PRIMARY KEY("subscription_id","product_id")
);
--> statement-breakpoint
CREATE TABLE "subscriptions" (
	"id" uuid PRIMARY KEY NOT NULL,
	"provider" "billing_provider" NOT NULL,
	"provider_subscription_id" text,
	"provider_customer_id" text,
	"owner_kind" "owner_kind",
	"owner_id" uuid,
	"owner_linked" boolean DEFAULT false NOT NULL,
	"owner_claims" text[] DEFAULT '{}' NOT NULL,
	"product_id" text,
	"tier" "tier",
	"status" "subscription_status" NOT NULL,
	"provider_status" text,
	"started_at" timestamp (3) with time zone,
	"current_period_start" timestamp (3) with time zone,
	"current_period_end" timestamp (3) with time zone,
	"cancel_at_period_end" boolean DEFAULT false NOT NULL,
	"canceled_at" timestamp (3) with time zone,
	"ends_at" timestamp (3) with time zone,
	"ended_at" timestamp (3) with time zone,
	"trial_end" timestamp (3) with time zone,
	"past_due_until" timestamp (3) with time zone,
	"seats" integer,
	"amount" bigint,
	"currency" text,
	"note" text,
	"check_at" timestamp (3) with time zone,
	"confirmed_at" timestamp (3) with time zone,
	"end_requested_at" timestamp (3) with time zone,
	"event_at" timestamp(6) with time zone DEFAULT '-infinity' NOT NULL,
	"event_modified_at" timestamp(6) with time zone DEFAULT '-infinity' NOT NULL,
	"event_rank" smallint DEFAULT 0 NOT NULL,
	"event_id" text DEFAULT '' NOT NULL,
	"created_at" timestamp (3) with time zone DEFAULT now() NOT NULL,
	"updated_at" timestamp (3) with time zone DEFAULT now() NOT NULL,
	CONSTRAINT "subscriptions_provider_subscription_key" UNIQUE("provider","provider_subscription_id"),
	CONSTRAINT "subscriptions_owner_whole" CHECK (("subscriptions"."owner_id" IS NULL) = ("subscriptions"."owner_kind" IS NULL)),
	CONSTRAINT "subscriptions_grant_or_provider" CHECK (("subscriptions"."provider" = 'manual') = ("subscriptions"."provider_subscription_id" IS NULL))
);
--> statement-breakpoint
ALTER TABLE "user_merges" DROP CONSTRAINT "user_merges_id_users_id_fk";
--> statement-breakpoint
ALTER TABLE "subscription_products" ADD CONSTRAINT "subscription_products_subscription_id_subscriptions_id_fk" FOREIGN KEY ("subscription_id") REFERENCES "public"."subscriptions"("id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
CREATE INDEX "billing_customers_owner_idx" ON "billing_customers" USING btree ("owner_id");--> statement-breakpoint
CREATE INDEX "billing_customers_claims_idx" ON "billing_customers" USING gin ("owner_claims");--> statement-breakpoint
CREATE INDEX "payments_owner_idx" ON "payments" USING btree ("owner_id","occurred_at","id");--> statement-breakpoint
CREATE INDEX "payments_customer_idx" ON "payments" USING btree ("provider","provider_customer_id");--> statement-breakpoint
CREATE INDEX "payments_claims_idx" ON "payments" USING gin ("owner_claims");--> statement-breakpoint
CREATE INDEX "subscriptions_owner_idx" ON "subscriptions" USING btree ("owner_id");--> statement-breakpoint
CREATE INDEX "subscriptions_claims_idx" ON "subscriptions" USING gin ("owner_claims");--> statement-breakpoint
CREATE INDEX "subscriptions_customer_idx" ON "subscriptions" USING btree ("provider","provider_customer_id");--> statement-breakpoint
CREATE INDEX "subscriptions_created_idx" ON "subscriptions" USING btree ("created_at","id");--> statement-breakpoint
CREATE INDEX "subscriptions_provider_idx" ON "subscriptions" USING btree ("provider","created_at","id");--> statement-breakpoint
CREATE INDEX "subscriptions_status_idx" ON "subscriptions" USING btree ("status","created_at","id");--> statement-breakpoint
CREATE INDEX "subscriptions_ownerless_idx" ON "subscriptions" USING btree ("created_at","id") WHERE "subscriptions"."owner_id" IS NULL;--> statement-breakpoint
CREATE INDEX "subscriptions_check_idx" ON "subscriptions" USING btree ("check_at") WHERE "subscriptions"."check_at" IS NOT NULL;--> statement-breakpoint
CREATE INDEX "user_merges_into_user_id_idx" ON "user_merges" USING btree ("into_user_id");