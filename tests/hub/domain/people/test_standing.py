"""Which rooms follow from a person: one function of its facts, whoever asks."""

from dataclasses import replace

from hub.domain.people.standing import Standing
from hub.domain.places import geometry

CELL = geometry.cell_of(33.499, 126.531)
HERE = Standing(
    consented_at=None,
    home_region="busan",
    home="haeundae",
    urgent_enabled=True,
    muted=("ildo2",),
    followed=("약국",),
    cell=CELL,
    region="jeju",
    neighbourhood="nohyeong",
)
CELL_ROOM = geometry.room_of_cell(CELL)


def test_who_is_somewhere_is_there() -> None:
    assert HERE.rooms() == [
        "region:jeju",
        CELL_ROOM,
        "neighbourhood:nohyeong",
        "mute:ildo2",
        "tag:약국",
    ]


def test_who_is_nowhere_is_at_home() -> None:
    nowhere = replace(HERE, cell=None, region=None, neighbourhood=None)
    assert nowhere.rooms() == ["region:busan", "neighbourhood:haeundae", "mute:ildo2", "tag:약국"]


def test_who_wants_no_urgent_questions_is_in_no_cell_and_no_region() -> None:
    assert replace(HERE, urgent_enabled=False).rooms() == [
        "neighbourhood:nohyeong",
        "mute:ildo2",
        "tag:약국",
    ]
