"""Which rooms a socket must be in, whatever happened and in whatever order."""

from hypothesis import given
from hypothesis import strategies as st

from hub.sockets.grounds import NO_GROUNDS, Grounds

HOME, CELL, STREAM, QUESTION, LOBBY = "user:a", "cell:1", "stream:s", "question:q", "lobby"
ROOMS = st.lists(st.sampled_from([HOME, CELL, "region:r", STREAM, QUESTION, LOBBY]), max_size=3)


def test_a_session_is_found_out() -> None:
    """Old places are left, what a client may ask for and what no kind of ours is stays."""
    back = Grounds(claimed=(HOME, CELL, STREAM, QUESTION, LOBBY)).moved((HOME,), ())
    assert back.rooms == (HOME,)
    found = back.found((HOME, "region:r"), (STREAM, LOBBY))
    assert found == Grounds((HOME, "region:r"), (STREAM,), (LOBBY,))


def test_what_cannot_be_found_out_is_trusted_until_it_can() -> None:
    trusted = Grounds(claimed=(HOME, CELL, STREAM)).trusted()
    assert set(trusted.rooms) == {HOME, CELL, STREAM}
    assert trusted.found((HOME,), (STREAM,)).rooms == (HOME, STREAM)


def test_what_is_automatic_does_not_count_as_asked() -> None:
    assert Grounds(claimed=(QUESTION,)).found((HOME, QUESTION), (QUESTION,)).asked == ()


def test_a_move_leaves_what_the_client_asked_for() -> None:
    here = Grounds(automatic=(HOME, CELL, QUESTION)).asking(QUESTION)
    assert here.moved(("cell:2",), (CELL, QUESTION)).rooms == (HOME, "cell:2", QUESTION)
    away = Grounds(claimed=(CELL, QUESTION))
    assert away.moved((), (CELL, QUESTION)).claimed == (QUESTION,)


def test_what_another_server_ordered_outlasts_our_own_reasons() -> None:
    ordered = NO_GROUNDS.ordered_by_another((CELL,), ())
    assert ordered.moved((), (CELL,)).rooms == (CELL,)
    assert ordered.found((HOME,), ()).rooms == (HOME, CELL)


@given(ROOMS, ROOMS, ROOMS, ROOMS, ROOMS)
def test_orders_are_obeyed_to_the_letter(
    automatic: list[str], asked: list[str], claimed: list[str], join: list[str], leave: list[str]
) -> None:
    before = Grounds(tuple(automatic), tuple(asked), (), tuple(claimed))
    after = before.ordered_by_another(join, leave)
    assert set(after.rooms) == set(before.rooms) - set(leave) | set(join)
    assert set(after.claimed) == set(claimed) - set(leave)
    assert set(before.without(leave).rooms) == set(before.rooms) - set(leave)


@given(ROOMS, st.sampled_from([STREAM, QUESTION]))
def test_asking_in_vain_changes_no_room(automatic: list[str], room: str) -> None:
    before = Grounds(automatic=tuple(dict.fromkeys(automatic)))
    assert set(before.asking(room).rooms) == {*automatic, room}
    assert before.asking(room).not_asking(room) == before
