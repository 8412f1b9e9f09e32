-- In a transaction of its own: the one that adds the foreign key keeps writers of subscriptions waiting until it ends.
INSERT INTO subscription_periods (subscription_id, starts_at, ends_at, event_at, event_modified_at, event_rank, event_id)
SELECT id, current_period_start, current_period_end, event_at, event_modified_at, event_rank, event_id FROM subscriptions
 WHERE current_period_start < current_period_end
UNION ALL
SELECT id, started_at, trial_end, event_at, event_modified_at, event_rank, event_id FROM subscriptions
 WHERE started_at < trial_end AND trial_end <= current_period_start
ON CONFLICT DO NOTHING;
