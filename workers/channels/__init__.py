"""How a message leaves the house: one folder a provider, and one row of `table.PROVIDERS` each.

A folder holds `sender.py` (which hands one message to one recipient, once), `message.py` (how the
provider wants it) and `answers.py` (the table that says what each of its answers means).
"""
