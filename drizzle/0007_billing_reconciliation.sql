CREATE TYPE "public"."billing_walk_phase" AS ENUM('theirs', 'ours');--> statement-breakpoint
CREATE TABLE "billing_walks" (
	"provider" "billing_provider" PRIMARY KEY NOT NULL,
	"phase" "billing_walk_phase" NOT NULL,
	"position" text,
	"created_at" timestamp (3) with time zone DEFAULT now() NOT NULL,
	"updated_at" timestamp (3) with time zone DEFAULT now() NOT NULL
);
