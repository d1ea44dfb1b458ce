"""Kinds of notifications."""

from typing import Final

URGENT_KIND: Final = "question_urgent"
