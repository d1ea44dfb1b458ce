"""Who should have heard what, and what they heard: every event accounted for."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields

TOLD = None
"""In a list of numbers heard: here the client was told `recovered: false`."""

Heard = Sequence[int | None]


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
    """Hold what one client heard against what its rooms were sent, both in order of sending.

    Where it was told `recovered: false` it may have missed whatever lies between the last number
    before and the first one after that word, and nothing else.
    """
    account = Account(clients=1)
    seen: set[int] = set()
    excused: set[int] = set()
    last = expected[0] - 1 if expected else 0
    was_told = False
    for number in heard:
        if number is TOLD:
            account.told += 1
            was_told = True
            continue
        account.heard += 1
        if number in seen:
            if number in urgent:
                account.overtaken += 1
            else:
                account.repeats += 1
            continue
        seen.add(number)
        if was_told:
            excused.update(range(last + 1, number))
            was_told = False
        if number < last:
            account.disorder += 1
        if number not in urgent:  # these may come before what was sent earlier
            last = max(last, number)
    if was_told and expected:
        excused.update(range(last + 1, expected[-1] + 1))
    missing = [number for number in expected if number not in seen]
    account.missed_and_told = sum(number in excused for number in missing)
    account.gaps = len(missing) - account.missed_and_told
    return account


def total(accounts: Iterable[Account]) -> Account:
    return sum(accounts, Account())
