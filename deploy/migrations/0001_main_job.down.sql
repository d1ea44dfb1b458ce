DROP TABLE suppressions, service_clients, refresh_tokens, outbox, inbox_events, idempotency_keys,
    broadcasts, deliveries, notification_dedup, notifications, inbox_heads, decisions,
    question_recipients, urgent_waves, point_transactions, answers, questions, devices,
    notification_preferences, user_locations, users, neighbourhoods, regions;
