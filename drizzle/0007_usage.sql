CREATE TYPE "public"."token_class" AS ENUM('input', 'output', 'cached_input', 'reasoning', 'total');--> statement-breakpoint
CREATE TYPE "public"."hold_status" AS ENUM('live', 'settled', 'released', 'expired');--> statement-breakpoint
CREATE TABLE "prices" (
	"model" text NOT NULL,
	"token_class" "token_class" NOT NULL,
	"effective_from" timestamp (3) with time zone NOT NULL,
	"micros_per_million" bigint NOT NULL,
	"currency" text NOT NULL,
	"created_at" timestamp (3) with time zone DEFAULT now() NOT NULL,
	"updated_at" timestamp (3) with time zone DEFAULT now() NOT NULL,
	CONSTRAINT "prices_pkey" PRIMARY KEY("model","token_class","effective_from"),
	CONSTRAINT "prices_not_negative" CHECK ("prices"."micros_per_million" >= 0),
	CONSTRAINT "prices_on_the_hour" CHECK ("prices"."effective_from" = date_bin('1 hour', "prices"."effective_from", 'epoch'::timestamptz))
);
--> statement-breakpoint
CREATE TABLE "meter_exports" (
	"provider" "billing_provider" NOT NULL,
	"owner_id" uuid NOT NULL,
	"event_id" text NOT NULL,
	"provider_customer_id" text NOT NULL,
	"occurred_at" timestamp (3) with time zone NOT NULL,
	"values" jsonb NOT NULL,
	"tokens_used" bigint NOT NULL,
	"attempts" integer DEFAULT 0 NOT NULL,
	"next_attempt_at" timestamp (3) with time zone DEFAULT now(),
	"last_error" text,
	"created_at" timestamp (3) with time zone DEFAULT now() NOT NULL,
	"updated_at" timestamp (3) with time zone DEFAULT now() NOT NULL,
	CONSTRAINT "meter_exports_pkey" PRIMARY KEY("owner_id","event_id")
);
--> statement-breakpoint
CREATE TABLE "usage_alerts" (
	"owner_id" uuid NOT NULL,
	"period_start" timestamp (3) with time zone NOT NULL,
	"threshold" smallint NOT NULL,
	"owner_kind" "owner_kind" NOT NULL,
	"used" bigint NOT NULL,
	"limit" bigint NOT NULL,
	"created_at" timestamp (3) with time zone DEFAULT now() NOT NULL,
	CONSTRAINT "usage_alerts_pkey" PRIMARY KEY("owner_id","period_start","threshold")
);
--> statement-breakpoint
CREATE TABLE "usage_event_ids" (
	"owner_id" uuid NOT NULL,
	"event_id" text NOT NULL,
	"fingerprint" "bytea" NOT NULL,
	"created_at" timestamp (3) with time zone DEFAULT now() NOT NULL,
	CONSTRAINT "usage_event_ids_pkey" PRIMARY KEY("owner_id","event_id")
);
--> statement-breakpoint
CREATE TABLE "usage_holds" (
	"owner_id" uuid NOT NULL,
	"id" uuid NOT NULL,
	"period_start" timestamp (3) with time zone NOT NULL,
	"tokens" bigint NOT NULL,
	"model" text,
	"actor_user_id" uuid,
	"status" "hold_status" DEFAULT 'live' NOT NULL,
	"expires_at" timestamp (3) with time zone NOT NULL,
	"event_id" text,
	"created_at" timestamp (3) with time zone DEFAULT now() NOT NULL,
	"updated_at" timestamp (3) with time zone DEFAULT now() NOT NULL,
	CONSTRAINT "usage_holds_pkey" PRIMARY KEY("owner_id","id")
);
--> statement-breakpoint
CREATE TABLE "usage_quotas" (
	"owner_id" uuid NOT NULL,
	"period_start" timestamp (3) with time zone NOT NULL,
	"period_end" timestamp (3) with time zone NOT NULL,
	"owner_kind" "owner_kind" NOT NULL,
	"used" bigint DEFAULT 0 NOT NULL,
	"overrun" bigint DEFAULT 0 NOT NULL,
	"held" bigint DEFAULT 0 NOT NULL,
	"alerted" smallint DEFAULT 0 NOT NULL,
	"requests_owed" double precision DEFAULT 0 NOT NULL,
	"tokens_owed" double precision DEFAULT 0 NOT NULL,
	"owed_at" double precision DEFAULT 0 NOT NULL,
	"created_at" timestamp (3) with time zone DEFAULT now() NOT NULL,
	"updated_at" timestamp (3) with time zone DEFAULT now() NOT NULL,
	CONSTRAINT "usage_quotas_pkey" PRIMARY KEY("owner_id","period_start")
);
--> statement-breakpoint
CREATE TABLE "usage_rollups" (
	"owner_id" uuid NOT NULL,
	"hour" timestamp (3) with time zone NOT NULL,
	"model" text NOT NULL,
	"actor_user_id" uuid,
	"events" bigint DEFAULT 0 NOT NULL,
	"input_tokens" bigint DEFAULT 0 NOT NULL,
	"output_tokens" bigint DEFAULT 0 NOT NULL,
	"cached_input_tokens" bigint DEFAULT 0 NOT NULL,
	"reasoning_tokens" bigint DEFAULT 0 NOT NULL,
	"tokens_used" bigint DEFAULT 0 NOT NULL,
	"overrun" bigint DEFAULT 0 NOT NULL,
	"created_at" timestamp (3) with time zone DEFAULT now() NOT NULL,
	"updated_at" timestamp (3) with time zone DEFAULT now() NOT NULL,
	CONSTRAINT "usage_rollups_key" UNIQUE NULLS NOT DISTINCT("owner_id","hour","model","actor_user_id")
);
--> statement-breakpoint
CREATE TABLE "usage_seals" (
	"only" boolean PRIMARY KEY DEFAULT true NOT NULL,
	"sealed_before" timestamp (3) with time zone NOT NULL,
	"created_at" timestamp (3) with time zone DEFAULT now() NOT NULL,
	"updated_at" timestamp (3) with time zone DEFAULT now() NOT NULL,
	CONSTRAINT "usage_seals_only" CHECK ("usage_seals"."only")
);
--> statement-breakpoint
CREATE TABLE "usage" (
	"owner_id" uuid NOT NULL,
	"occurred_at" timestamp (3) with time zone NOT NULL,
	"event_id" text NOT NULL,
	"owner_kind" "owner_kind" NOT NULL,
	"actor_user_id" uuid,
	"model" text NOT NULL,
	"input_tokens" bigint DEFAULT 0 NOT NULL,
	"output_tokens" bigint DEFAULT 0 NOT NULL,
	"cached_input_tokens" bigint DEFAULT 0 NOT NULL,
	"reasoning_tokens" bigint DEFAULT 0 NOT NULL,
	"tokens_used" bigint DEFAULT 0 NOT NULL,
	"overrun" bigint DEFAULT 0 NOT NULL,
	"period_start" timestamp (3) with time zone NOT NULL,
	"hold_id" uuid,
	"metadata" jsonb,
	"created_at" timestamp (3) with time zone DEFAULT now() NOT NULL,
	CONSTRAINT "usage_pkey" PRIMARY KEY("owner_id","occurred_at","event_id")
) PARTITION BY RANGE ("occurred_at");
--> statement-breakpoint
-- What is counted up again and again finds room on its own page.
ALTER TABLE "usage_quotas" SET (fillfactor = 50);--> statement-breakpoint
ALTER TABLE "usage_rollups" SET (fillfactor = 80);
--> statement-breakpoint
CREATE INDEX "meter_exports_next_attempt_at_idx" ON "meter_exports" USING btree ("provider","next_attempt_at") WHERE "meter_exports"."next_attempt_at" IS NOT NULL;--> statement-breakpoint
CREATE INDEX "meter_exports_refused_idx" ON "meter_exports" USING btree ("provider","created_at","owner_id","event_id") WHERE "meter_exports"."next_attempt_at" IS NULL;--> statement-breakpoint
CREATE INDEX "usage_holds_live_idx" ON "usage_holds" USING btree ("owner_id","period_start","expires_at") WHERE "usage_holds"."status" = 'live';--> statement-breakpoint
CREATE INDEX "usage_holds_expiry_idx" ON "usage_holds" USING btree ("expires_at") WHERE "usage_holds"."status" = 'live';--> statement-breakpoint
CREATE INDEX "usage_holds_done_idx" ON "usage_holds" USING btree ("updated_at") WHERE "usage_holds"."status" <> 'live';