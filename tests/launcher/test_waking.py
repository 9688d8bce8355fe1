"""launcher.waking: what wakes the guardian, and which signals it keeps."""

from __future__ import annotations

from typing import Any

from tests.launcher.alone import alone


def test_signals_wake_and_are_kept_in_their_order() -> None:
    """A signal that came before the wait counts as well; SIGHUP asks for no end."""

    def kept() -> list[Any]:
        import os
        import signal

        from launcher.waking import Waker

        waker = Waker()
        os.kill(os.getpid(), signal.SIGHUP)
        waker.wait(None)
        seen: list[Any] = [waker.is_asked_to_end]
        for number in (signal.SIGTERM, signal.SIGINT):
            os.kill(os.getpid(), number)
        waker.wait(None)
        return [*seen, waker.is_asked_to_end, [signal.Signals(number).name for number in waker.signals]]

    assert alone(kept) == [False, True, ["SIGHUP", "SIGTERM", "SIGINT"]]


def test_the_end_of_a_child_and_a_descriptor_wake() -> None:
    """What is registered wakes as long as it is ready, a signal once."""

    def woken() -> list[bool]:
        import os
        import time

        from launcher.waking import Waker

        waker = Waker()
        pid = os.posix_spawn("/bin/true", ["true"], {})
        waker.wait(None)
        has_ended = os.waitpid(pid, os.WNOHANG)[0] == pid
        reader, writer = os.pipe()
        waker.poller.register(reader)
        os.write(writer, b"x")
        waker.wait(None)
        waker.poller.unregister(reader)
        before = time.monotonic()
        waker.wait(0.05)
        waker.wait(-1.0)
        return [has_ended, bool(waker.signals), 0.04 < time.monotonic() - before < 10.0]

    assert alone(woken) == [True, False, True]
