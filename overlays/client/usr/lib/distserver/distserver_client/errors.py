"""What a person can fix, and what only the server or time can."""


class Problem(Exception):
    """A person can fix it; the message is a sentence."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint

    def __str__(self) -> str:
        said = super().__str__()
        return f"{said}: {self.hint}" if self.hint else said


class Away(Problem):
    """The server does not answer, or says that it has no time: the same is tried again later."""


class Damaged(Problem):
    """What came is not what the signed manifest says; nothing of it is kept."""
