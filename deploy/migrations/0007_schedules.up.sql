-- phase: before
-- When each schedule is due next: whoever moves the row on enqueues its job, in one transaction, so
-- that of all workers one does. `cron` (with its time zone) is what due_at was worked out from.
CREATE TABLE schedules (
    name text PRIMARY KEY,
    cron text NOT NULL,
    due_at timestamptz NOT NULL
);
