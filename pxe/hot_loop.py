"""An asyncio loop that calls some descriptors' handlers straight from its poll, for what goes in lock-step.

A datagram costs asyncio a selector key, a Handle, a context and a turn of the loop: several times what the
answer costs. Everything else on the loop works as always.
"""

import asyncio
import contextvars
import logging
import select
import selectors
from collections.abc import Callable, Coroutine, Mapping
from time import monotonic
from typing import TYPE_CHECKING, Any, TypeVar, TypeVarTuple

if TYPE_CHECKING:
    from _typeshed import FileDescriptorLike

log = logging.getLogger(__name__)

T = TypeVar("T")
Ts = TypeVarTuple("Ts")
Handler = Callable[[], bool]
"""Takes one datagram or some; while there is more it is called again. True: the loop has to look at once; it
does so by itself when the handler left something for it (a timer, a task)."""


class _Selector(selectors.BaseSelector):
    """asyncio's descriptors in a selector as always, which is one of the descriptors of another epoll."""

    def __init__(self) -> None:
        self._usual = selectors.EpollSelector()
        self._both = select.epoll()
        self._both.register(self._usual.fileno(), select.EPOLLIN)
        self.handlers: dict[int, Handler] = {}
        self.left = False
        """Something was left for the loop."""

    def watch(self, descriptor: int, handler: Handler) -> None:
        self._both.register(descriptor, select.EPOLLIN)
        self.handlers[descriptor] = handler

    def unwatch(self, descriptor: int) -> None:
        if self.handlers.pop(descriptor, None):
            self._both.unregister(descriptor)

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        poll, handlers = self._both.poll, self.handlers
        until = None if timeout is None else monotonic() + timeout
        wait = -1.0 if timeout is None else max(timeout, 0.0)
        while True:
            look = self.left = False
            for descriptor, _ in poll(wait):
                handler = handlers.get(descriptor)
                if handler is None:
                    # The usual ones; or one that another handler of this round has just unwatched.
                    look = True
                    continue
                try:
                    look = handler() or look
                except Exception:
                    log.exception("the handler of descriptor %d is not called any more", descriptor)
                    self.unwatch(descriptor)
            if look or self.left:
                return self._usual.select(0)
            if until is not None:
                wait = until - monotonic()
                if wait <= 0:
                    return []

    def register(self, fileobj: "FileDescriptorLike", events: int, data: Any = None) -> selectors.SelectorKey:
        return self._usual.register(fileobj, events, data)

    def unregister(self, fileobj: "FileDescriptorLike") -> selectors.SelectorKey:
        return self._usual.unregister(fileobj)

    def modify(self, fileobj: "FileDescriptorLike", events: int, data: Any = None) -> selectors.SelectorKey:
        return self._usual.modify(fileobj, events, data)

    def get_map(self) -> Mapping["FileDescriptorLike", selectors.SelectorKey]:
        return self._usual.get_map()

    def close(self) -> None:
        self._both.close()
        self._usual.close()


class HotLoop(asyncio.SelectorEventLoop):
    """asyncio's own loop, with `watch` beside `add_reader`."""

    def __init__(self) -> None:
        self._hot = _Selector()
        super().__init__(self._hot)

    def call_soon(
        self, callback: Callable[[*Ts], object], *args: *Ts, context: contextvars.Context | None = None
    ) -> asyncio.Handle:
        self._hot.left = True
        return super().call_soon(callback, *args, context=context)

    def call_at(
        self,
        when: float,
        callback: Callable[[*Ts], object],
        *args: *Ts,
        context: contextvars.Context | None = None,
    ) -> asyncio.TimerHandle:
        self._hot.left = True
        return super().call_at(when, callback, *args, context=context)

    def watch(self, descriptor: int, handler: Handler) -> None:
        """Call `handler` whenever the descriptor can be read. Not from other threads."""
        self._hot.watch(descriptor, handler)

    def unwatch(self, descriptor: int) -> None:
        """Do nothing when it is not watched. Comes before the descriptor is closed."""
        self._hot.unwatch(descriptor)


def run(main: Coroutine[Any, Any, T]) -> T:
    """asyncio.run on a HotLoop."""
    with asyncio.Runner(loop_factory=HotLoop) as runner:
        return runner.run(main)
