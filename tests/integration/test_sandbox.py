"""Images inside a sandbox, on hosts whose /dev is not what a desktop's is."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path, PurePosixPath

import pytest

from appliance.deadline import wait_until
from appliance.run import run, running
from appliance.sandbox import Bind, Image, Sandbox

DEADLINE_SECONDS = 60.0
HOST = [Bind(Path("/usr"), PurePosixPath("/usr"))]
STATIC_DEV = """
mkdir "$1/dev"
mount -t tmpfs none "$1/dev"
for node in null zero full random urandom tty; do
    : >"$1/dev/$node"
    mount --bind "/dev/$node" "$1/dev/$node"
done
mknod "$1/dev/loop-control" c 10 237
ln -s /proc/self/fd "$1/dev/fd"
mount --move "$1/dev" /dev
shift
exec "$@"
"""
"""A /dev as containers have it: nothing comes and goes in it, and here no loop device has a node at all."""
SHOW = "cat /image/word; touch /image/new 2>/dev/null && echo writable"


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("image")
    (place / "content").mkdir()
    (place / "content/word").write_text("inside\n")
    run(["mksquashfs", place / "content", place / "one.sqfs", "-quiet", "-no-progress"])
    return place / "one.sqfs"


@pytest.fixture
def sandbox(tmp_path: Path, image: Path) -> Iterator[Sandbox]:
    place = tmp_path / "root"
    place.mkdir()
    for name in ("bin", "lib", "lib64"):
        (place / name).symlink_to(f"usr/{name}")
    yield Sandbox(place, [*HOST, Image(image, PurePosixPath("/image"))])


def test_an_image_is_read_only(sandbox: Sandbox) -> None:
    assert run(["sh", "-c", SHOW], prefix=sandbox.prefix(), ok=(1,)).stdout == "inside\n"


def test_twenty_at_once_have_a_loop_device_each(sandbox: Sandbox, tmp_path: Path) -> None:
    words = [tmp_path / f"word-{number}" for number in range(20)]
    stay = "cat /image/word; trap 'exit 0' TERM; sleep 1000 & wait"
    with ExitStack() as stack:
        for word in words:
            stack.enter_context(running([*sandbox.prefix(), "sh", "-c", stay], output=word))

        def said() -> str:
            return "".join(word.read_text() for word in words)

        wait_until(
            lambda: said() == "inside\n" * 20 or None,
            seconds=DEADLINE_SECONDS,
            what="all see it",
            last_seen=said,
        )


def on_static_dev(sandbox: Sandbox, tmp_path: Path, *between: str) -> tuple[str, list[str]]:
    """Standard output, and every line that was said, of SHOW in a sandbox on such a host."""
    lines: list[str] = []
    host = ["unshare", "--mount", "sh", "-euc", STATIC_DEV, "host", str(tmp_path), *between]
    argv = [*host, *sandbox.prefix(), "sh", "-c", SHOW]
    return run(argv, ok=(1,), on_line=lines.append).stdout, lines


def test_a_host_whose_dev_has_no_loop_nodes(sandbox: Sandbox, tmp_path: Path) -> None:
    said, lines = on_static_dev(sandbox, tmp_path)
    assert said == "inside\n"
    assert lines == ["inside"]


def test_a_host_that_gives_no_loop_device_has_the_image_unpacked(sandbox: Sandbox, tmp_path: Path) -> None:
    _, lines = on_static_dev(sandbox, tmp_path, "setpriv", "--bounding-set", "-mknod")
    assert "no loop device" in lines[0]
    assert lines[-1] == "inside"


SAYS_MACHINE = """
int call(int number, int a, const void *b, int c)
{ int got; __asm__ volatile("int $0x80" : "=a"(got) : "0"(number), "b"(a), "c"(b), "d"(c) : "memory");
  return got; }
void _start(void)
{ static char names[6][65]; int length = 0;
  call(122, (int)names, 0, 0);
  while (names[4][length]) length++;
  call(4, 1, names[4], length);
  call(1, 0, 0, 0); }
"""


def test_a_root_of_32_bit_programs_is_told_that_the_machine_is_an_i686(tmp_path: Path) -> None:
    (tmp_path / "root/bin").mkdir(parents=True)
    (tmp_path / "says.c").write_text(SAYS_MACHINE)
    compiler = ["gcc", "-m32", "-nostdlib", "-static", "-fno-pic", "-fno-stack-protector", "-O1"]
    run([*compiler, "-o", tmp_path / "root/bin/sh", tmp_path / "says.c"])
    assert run(["/bin/sh"], prefix=Sandbox(tmp_path / "root").prefix()).stdout == "i686"


def test_any_other_root_is_told_what_the_machine_is(sandbox: Sandbox) -> None:
    assert run(["uname", "-m"], prefix=sandbox.prefix()).stdout == run(["uname", "-m"]).stdout
