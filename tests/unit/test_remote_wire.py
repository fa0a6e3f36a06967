"""Values go over the wire and come back equal, whatever fields they have."""

from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

import pytest

from appliance.farm_model import Package
from appliance.overlays import example_site
from appliance.site import read_site
from appliance.wire import pack, unpack


@dataclass(frozen=True)
class Sample:
    content: dict[str, bytes | PurePosixPath]
    ratio: float = 1.0
    maybe: Path | None = None
    names: frozenset[str] = frozenset()


def test_a_profile_comes_back_as_it_was() -> None:
    profile = read_site(example_site()).profiles["vm"]
    assert profile.portage
    back = unpack(type(profile), pack(profile))
    assert back == profile
    assert pack(back) == pack(profile)


def test_bytes_links_and_nothing_are_kept_apart() -> None:
    sample = Sample({"a": b"\0\xff", "b": PurePosixPath("../x")}, 2, Path("/y"), frozenset("ab"))
    assert unpack(Sample, pack(sample)) == sample
    assert unpack(Sample, pack(replace(sample, maybe=None))).maybe is None


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        (b'{"cpv": "a/b-1"}', "missing"),
        (b'{"cpv": 5}', "expected str, got int"),
        (b'{"cpv": "a", "flavour": 1}', "different versions"),
        (b"[]", "expected Package, got list"),
        (b"{", "Expecting"),
    ],
)
def test_what_is_no_such_value_is_refused(raw: bytes, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        unpack(Package, raw)
