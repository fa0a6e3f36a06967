"""Failures a person can fix."""


class Problem(Exception):
    """Something a person can fix: one clear sentence, and what to do about it.

    The command line prints both without a traceback and exits with 1; anything else that is raised is a
    bug and keeps its traceback.
    """

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message} ({self.hint})" if self.hint else self.message
