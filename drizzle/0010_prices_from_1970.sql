-- Prices before 1970 are refused now. The latest of each model and class was in force in 1970, and stays so.
DELETE FROM prices AS early USING prices AS later
 WHERE early.effective_from < 'epoch' AND later.effective_from <= 'epoch' AND later.effective_from > early.effective_from
   AND later.model = early.model AND later.token_class = early.token_class;
--> statement-breakpoint
UPDATE prices SET effective_from = 'epoch', updated_at = now() WHERE effective_from < 'epoch';
