"""What HTTP refuses by a status of its own, under a code of the closed list."""

from protocol.errors import HubError, code_of_status


class Refusal(HubError):
    """Its code is that of its status."""

    def __init__(self, status: int, message: str, **headers: str) -> None:
        super().__init__(code_of_status(status), message)
        self._status = status
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}

    @property
    def status(self) -> int:
        return self._status
