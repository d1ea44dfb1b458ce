"""Answers to questions."""

from datetime import datetime

from protocol.events.questions import Author
from protocol.payload import Content, Id, Message, Request


class AnswerRequest(Request):
    question_id: Id
    content: Content


class AnswerChange(Request):
    content: Content


class Answer(Message):
    id: str
    question_id: str
    author: Author
    content: str
    is_accepted: bool
    created_at: datetime
    accepted_at: datetime | None = None
    points: int | None = None


class Answers(Message):
    items: tuple[Answer, ...]
    next: str | None
