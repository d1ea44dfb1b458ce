DROP INDEX pgqueuer_due;
