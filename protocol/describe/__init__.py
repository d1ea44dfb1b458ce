"""Prints what the tables say, so that no description is written by hand twice."""

from protocol.describe.asyncapi import asyncapi
from protocol.describe.codes import codes
from protocol.describe.openapi import openapi
from protocol.describe.schemas import Document

__all__ = ["Document", "asyncapi", "codes", "openapi"]
