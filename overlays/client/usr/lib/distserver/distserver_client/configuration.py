"""Settles the machine's configuration files, with its server or without anybody to ask."""

from collections.abc import Mapping, Sequence
from typing import NoReturn

from distserver_client import answers, index, protection, triples
from distserver_client.bases import Recorded
from distserver_client.errors import Away
from distserver_client.news import Became, News
from distserver_client.paths import Places
from distserver_client.talking import Talk
from distserver_client.triples import Answer, Item, Settled


class Nobody:
    """The server of a machine that has no certificate: what cannot be decided here waits."""

    def known(self, items: Sequence[Item]) -> Sequence[Answer]:
        _away()

    def give(self, sha256: str, content: bytes) -> None:
        _away()

    def get(self, sha256: str) -> bytes:
        _away()

    def news(self) -> list[News]:
        return []

    def told(self, item: Item | News, became: Became, result: str, said: str = "") -> bool:
        _away()


def settle(
    places: Places, recorded: Recorded, talk: Talk | None, said: Mapping[str, object], *, news: bool = False
) -> Settled:
    """By what the profile's policy says; `news`: the server has answers.

    Raises OSError when the state cannot be written, ValueError for a policy that makes no sense.
    """
    header = index.header((places.release(recorded.after) / "Packages").read_text())
    return answers.settle(
        places.root,
        recorded,
        talk or Nobody(),
        triples.policy(said),
        places.client,
        protection.protection(header),
        news=news,
    )


def _away() -> NoReturn:
    raise Away("this machine has no certificate to ask its server with")
