"""Who should have heard what, and what they heard: every event accounted for."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from enum import Enum


class Mark(Enum):
    """In a list of numbers heard: here the client was told `recovered: false`, and here it was
    back in the rooms it joins by itself. What everybody hears may come between the two.
    """

    TOLD = "told"
    BACK = "back"


Heard = Sequence[int | Mark]


@dataclass(slots=True)
class Account:
    """`gaps` nobody was told of; `overtaken` are repeats of urgent events, which may be."""

    clients: int = 0
    heard: int = 0
    gaps: int = 0
    repeats: int = 0
    overtaken: int = 0
    disorder: int = 0
    told: int = 0
    missed_and_told: int = 0

    def __add__(self, other: "Account") -> "Account":
        names = [one.name for one in fields(self)]
        return Account(*(getattr(self, name) + getattr(other, name) for name in names))

    def __str__(self) -> str:
        return " ".join(f"{one.name}={getattr(self, one.name)}" for one in fields(self))

    @property
    def clean(self) -> bool:
        return not (self.gaps or self.repeats or self.disorder)


def audit(expected: Sequence[int], heard: Heard, urgent: frozenset[int] = frozenset()) -> Account:
    """Hold what one client heard against what its rooms were sent, both in order of sending."""
    missing = gaps(expected, heard)
    account = Account(clients=1, gaps=len(missing))
    seen: set[int] = set()
    last = -1
    for number in heard:
        if isinstance(number, Mark):
            account.told += number is Mark.TOLD
            continue
        account.heard += 1
        if number in seen:
            if number in urgent:
                account.overtaken += 1
            else:
                account.repeats += 1
            continue
        seen.add(number)
        if number < last:
            account.disorder += 1
        if number not in urgent:  # these may come before what was sent earlier
            last = max(last, number)
    account.missed_and_told = len(set(expected) - seen - missing)
    return account


def gaps(expected: Sequence[int], heard: Heard) -> set[int]:
    """What one client missed without being told.

    Where it was told `recovered: false` it may have missed whatever lies between the last number
    before that word and the first one after it or, where it joins rooms again, the first one after
    it was back in them: what it then fetches anew holds all of that. Nothing else may be missing.
    """
    missing = set(expected).difference(n for n in heard if not isinstance(n, Mark))
    last = before = -1
    was_told = False
    for number in heard:
        if isinstance(number, Mark):
            was_told = True
            if number is Mark.TOLD:
                before = last
            continue
        if was_told:
            missing = {n for n in missing if not before < n < number}
            was_told = False
        last = max(last, number)
    if was_told and expected:
        missing = {n for n in missing if not before < n <= expected[-1]}
    return missing


def total(accounts: Iterable[Account]) -> Account:
    return sum(accounts, Account())
