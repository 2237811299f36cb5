import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from featurespace.interrupts import ends_on_signals

# One long call outside of Python, in which no Python handler would run.
CODE = """
import hashlib
from featurespace.interrupts import ends_on_signals
with ends_on_signals():
    print("begun", flush=True)
    hashlib.pbkdf2_hmac("sha256", b"", b"", 10**8)
"""


def restore_interrupt():
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # background jobs of a shell ignore it


@pytest.mark.parametrize(("number", "code", "word"), [("SIGINT", 130, "interrupted"), ("SIGTERM", 143, "terminated")])
def test_a_signal_ends_the_process_at_once_even_in_a_long_call(number, code, word):
    with subprocess.Popen(
        [sys.executable, "-c", CODE],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=restore_interrupt,
    ) as process:
        process.stdout.readline()
        time.sleep(0.1)
        start = time.monotonic()
        process.send_signal(getattr(signal, number))
        assert process.wait(timeout=10) == code and time.monotonic() - start < 2
        assert process.stderr.read() == f"{word}; the same command goes on where it stopped\n"


def test_an_ignored_interrupt_stays_ignored():
    code = CODE.replace("10**8", "10**6").replace(
        "import hashlib", "import hashlib, signal; signal.signal(signal.SIGINT, signal.SIG_IGN)"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as process:
        process.stdout.readline()
        process.send_signal(signal.SIGINT)
        assert process.wait() == 0


def test_nothing_stays_behind():
    handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    threads, files = threading.active_count(), len(os.listdir("/dev/fd"))
    with ends_on_signals():
        assert threading.active_count() == threads + 1
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == handlers
    assert threading.active_count() == threads and len(os.listdir("/dev/fd")) == files
