"""What HTTP refuses by a status of its own, under a code of the closed list."""

from protocol.errors import Code, HubError

_CODES = {404: Code.NOT_FOUND, 405: Code.NOT_FOUND}


class Refusal(HubError):
    """404 and 405 are NOT_FOUND, everything else about a request's form INVALID_PAYLOAD."""

    def __init__(self, status: int, message: str, **headers: str) -> None:
        super().__init__(_CODES.get(status, Code.INVALID_PAYLOAD), message)
        self._status = status
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}

    @property
    def status(self) -> int:
        return self._status
