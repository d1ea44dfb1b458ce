"""The states of a question whose answer is urgent, and which of them may follow which."""

from typing import Final

URGENT_STATES: Final[dict[str, frozenset[str]]] = {
    "open": frozenset({"wave", "answered", "closed", "expired"}),
    "wave": frozenset({"wave", "claimed", "answered", "closed", "expired"}),
    "claimed": frozenset({"wave", "claimed", "answered", "closed", "expired"}),
    "answered": frozenset({"wave", "closed"}),
    "closed": frozenset(),
    "expired": frozenset({"answered", "closed"}),
}
"""From a state of an urgent question to those that may follow."""
