DROP TABLE room_message_keys;
DROP TABLE room_messages;
DROP TABLE room_memberships;
