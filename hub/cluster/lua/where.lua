-- Where the log stands. KEYS: epoch.
return current_offset(KEYS[1])
