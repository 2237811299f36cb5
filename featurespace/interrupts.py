"""Ctrl-C and a scheduler's SIGTERM end the process at once: what is on disk is whole, or does not count."""

from __future__ import annotations

import os
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

WORDS = {signal.SIGINT: "interrupted", signal.SIGTERM: "terminated"}
SHOW_CURSOR = "\r\n\x1b[?25h"  # a progress bar hides it


@contextmanager
def ends_on_signals() -> Iterator[None]:
    """Within it, Ctrl-C and SIGTERM end the process with a message and exit code 130 or 143.

    A thread does so and not a handler: Python runs handlers between its own instructions in the main thread, so
    one would wait for a long matrix product; and some libraries put their own handlers in place.
    """
    receiving, sending = socket.socketpair()
    sending.setblocking(False)
    # What is ignored, as in a background job of a shell, stays ignored.
    wanted = [number for number in WORDS if signal.getsignal(number) is not signal.SIG_IGN]
    earlier = {number: signal.signal(number, lambda *_: None) for number in wanted}
    descriptor = signal.set_wakeup_fd(sending.fileno(), warn_on_full_buffer=False)
    watcher = threading.Thread(target=_watch, args=(receiving,), daemon=True)
    watcher.start()
    try:
        yield
    finally:
        signal.set_wakeup_fd(descriptor)
        for number, handler in earlier.items():
            signal.signal(number, handler)
        sending.close()
        watcher.join()
        receiving.close()


def _watch(receiving: socket.socket) -> None:
    for received in iter(lambda: receiving.recv(1), b""):
        if received[0] in WORDS:
            number = signal.Signals(received[0])
            cursor = SHOW_CURSOR if os.isatty(2) else ""
            with suppress(OSError):  # not through sys.stderr, whose lock another thread may hold
                os.write(2, f"{cursor}{WORDS[number]}; the same command goes on where it stopped\n".encode())
            os._exit(128 + number)
