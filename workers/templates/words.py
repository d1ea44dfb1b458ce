"""What a mail says around the title and body of its notification, in Korean and English.

Fields of the lines: `asked` and `left`, relative times in words; `until`, a time of day.
"""

from dataclasses import dataclass
from typing import Final

from protocol.texts import GENERIC, Choice


@dataclass(frozen=True, slots=True)
class Words:
    """`subject` may use `title` and `body`; a line none of whose sentences fits is left out."""

    subject: Choice
    lines: tuple[Choice, ...]
    button: str


@dataclass(frozen=True, slots=True)
class Frame:
    """What every mail of one language has. `clock`: how a time of day is written (CLDR pattern)."""

    brand: str
    why: str
    unsubscribe: str
    link: str
    clock: str


FRAMES: Final[dict[str, Frame]] = {
    "ko": Frame(
        brand="동네",
        why="동네 이메일 알림이 켜져 있어 보내 드린 메일이에요.",
        unsubscribe="이메일 알림 그만 받기",
        link="버튼이 열리지 않으면 이 주소로 들어가 주세요.",
        clock="aaaa h:mm",
    ),
    "en": Frame(
        brand="Dongne",
        why="You get this mail because your email notifications are on.",
        unsubscribe="Unsubscribe",
        link="If the button does not open, use this address.",
        clock="h:mm a",
    ),
}

_KO: Final[dict[str, Words]] = {
    "question_urgent": Words(
        subject=("[급한 질문] {body}",),
        lines=(
            ("{asked}에 올라온 질문이에요.",),
            ("{until}까지, 앞으로 {left} 안에 답해 주시면 큰 도움이 돼요.",),
        ),
        button="답변하러 가기",
    ),
    "answer_created": Words(
        subject=("{title}",),
        lines=(("도움이 됐다면 답변을 채택해 주세요.",),),
        button="답변 보러 가기",
    ),
    "answer_accepted": Words(
        subject=("{title}",),
        lines=(("좋은 답변으로 이웃을 도와주셔서 고마워요.",),),
        button="내 답변 보기",
    ),
    "points_awarded": Words(subject=("{title}",), lines=(), button="포인트 내역 보기"),
    "welcome": Words(
        subject=("{title}",),
        lines=(
            ("급한 질문을 올리면 지금 근처에 있는 이웃에게 바로 알려 드려요.",),
            ("이웃의 질문에 답하고 채택되면 포인트도 받을 수 있어요.",),
        ),
        button="동네 둘러보기",
    ),
    "digest": Words(subject=("{title}",), lines=(), button="질문 둘러보기"),
    GENERIC: Words(subject=("{title}",), lines=(), button="자세히 보기"),
}

_EN: Final[dict[str, Words]] = {
    "question_urgent": Words(
        subject=("Urgent: {body}",),
        lines=(
            ("Asked {asked}.",),
            ("An answer by {until}, within {left}, would help a lot.",),
        ),
        button="Answer now",
    ),
    "answer_created": Words(
        subject=("{title}",),
        lines=(("If it helped, accept the answer.",),),
        button="Read the answer",
    ),
    "answer_accepted": Words(
        subject=("{title}",),
        lines=(("Thank you for helping a neighbour out.",),),
        button="See your answer",
    ),
    "points_awarded": Words(subject=("{title}",), lines=(), button="See your points"),
    "welcome": Words(
        subject=("{title}",),
        lines=(
            ("Ask urgently, and people who are nearby right now hear of it at once.",),
            ("Answer your neighbours’ questions, and accepted answers earn you points.",),
        ),
        button="Look around",
    ),
    "digest": Words(subject=("{title}",), lines=(), button="See the questions"),
    GENERIC: Words(subject=("{title}",), lines=(), button="See more"),
}

WORDS: Final[dict[str, dict[str, Words]]] = {"ko": _KO, "en": _EN}
