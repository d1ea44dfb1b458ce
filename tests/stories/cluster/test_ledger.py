"""What the counts of the stories are worth: each fault that can be is counted as that fault."""

from tests.stories.cluster.ledger import Account, Mark, audit

TOLD, BACK = Mark.TOLD, Mark.BACK


def counts(heard: list[int | Mark], urgent: frozenset[int] = frozenset()) -> dict[str, int]:
    account = audit([3, 5, 6, 9], heard, urgent)
    names = ("gaps", "repeats", "overtaken", "disorder", "told", "missed_and_told")
    return {name: value for name in names if (value := getattr(account, name))}


def test_everything_in_order_is_clean() -> None:
    assert counts([3, 5, 6, 9]) == {}
    assert audit([3, 5, 6, 9], [3, 5, 6, 9]) == Account(clients=1, heard=4)


def test_a_missing_event_is_a_gap_unless_the_client_was_told_there() -> None:
    assert counts([3, 6, 9]) == {"gaps": 1}
    assert counts([3, TOLD, 6, 9]) == {"told": 1, "missed_and_told": 1}
    assert counts([3, 6, TOLD, 9]) == {"told": 1, "gaps": 1}
    assert counts([3, 5, 6]) == {"gaps": 1}
    assert counts([3, 5, 6, TOLD]) == {"told": 1, "missed_and_told": 1}
    assert counts([]) == {"gaps": 4}


def test_whoever_was_told_may_miss_what_its_rooms_had_until_it_was_back_in_them() -> None:
    assert counts([3, TOLD, 6, BACK, 9]) == {"told": 1, "missed_and_told": 1}
    assert counts([TOLD, 5, BACK, 9]) == {"told": 1, "missed_and_told": 2}
    assert counts([TOLD, 5, 9]) == {"told": 1, "missed_and_told": 1, "gaps": 1}
    assert counts([TOLD, 6, BACK, 9]) == {"told": 1, "missed_and_told": 2}
    assert counts([3, TOLD, 5, BACK]) == {"told": 1, "missed_and_told": 2}
    assert counts([TOLD, 3, BACK, 5]) == {"told": 1, "gaps": 2}


def test_numbers_may_lie_far_apart() -> None:
    """What lies between is not counted one by one: a story's numbers begin at a billion."""
    far = 10**15
    assert audit([far, far + 1], [TOLD, far + 1, TOLD]).missed_and_told == 1


def test_repeats_and_disorder() -> None:
    assert counts([3, 5, 5, 6, 9]) == {"repeats": 1}
    assert counts([3, 5, 5, 6, 9], frozenset({5})) == {"overtaken": 1}
    assert counts([3, 6, 5, 9]) == {"disorder": 1}
    assert counts([3, 6, 5, 9], frozenset({6})) == {}, "an urgent one overtakes"
    assert counts([3, 6, 5, 9], frozenset({5})) == {"disorder": 1}, "and is never late"
