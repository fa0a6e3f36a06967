import asyncio
import logging
import os
import signal
import socket

import pytest

from pxe import hot_loop
from pxe.hot_loop import HotLoop


def loop() -> HotLoop:
    running = asyncio.get_running_loop()
    assert isinstance(running, HotLoop)
    return running


def test_everything_else_goes_on_while_a_descriptor_is_always_ready() -> None:
    async def main() -> int:
        calls, done = 0, asyncio.Event()
        near, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        with near, far:

            def never_read() -> bool:
                nonlocal calls
                calls += 1
                return False

            far.send(b"x")
            loop().watch(near.fileno(), never_read)
            loop().add_signal_handler(signal.SIGUSR1, done.set)
            await asyncio.sleep(0.01)
            await asyncio.to_thread(lambda: None)
            os.kill(os.getpid(), signal.SIGUSR1)
            await asyncio.wait_for(done.wait(), 5)
            reader, writer = await asyncio.open_connection(sock=_greeting())
            assert await reader.readexactly(5) == b"hello"
            writer.close()
            loop().unwatch(near.fileno())
        return calls

    assert hot_loop.run(main()) > 10


def _greeting() -> socket.socket:
    near, far = socket.socketpair()
    far.send(b"hello")
    far.close()
    return near


@pytest.mark.timeout(30)
@pytest.mark.parametrize("says_so", [True, False])
@pytest.mark.parametrize("how", ["soon", "at"])
def test_what_a_handler_leaves_for_the_loop_is_done_at_once(says_so: bool, how: str) -> None:
    async def main() -> None:
        near, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        done = asyncio.Event()
        with near, far:

            def handler() -> bool:
                near.recv(1)
                if how == "soon":
                    loop().call_soon(done.set)
                else:
                    loop().call_later(0.001, done.set)
                return says_so

            loop().watch(near.fileno(), handler)
            far.send(b"x")
            # Nothing else would wake the loop.
            await done.wait()
            loop().unwatch(near.fileno())

    hot_loop.run(main())


def test_a_handler_that_raises_is_logged_and_not_called_again(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        near, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        with near, far:
            loop().watch(near.fileno(), lambda: bool(1 // 0))
            far.send(b"x")
            await asyncio.sleep(0.01)
            loop().unwatch(near.fileno())

    with caplog.at_level(logging.ERROR):
        hot_loop.run(main())
    assert len(caplog.records) == 1 and "ZeroDivisionError" in caplog.text
