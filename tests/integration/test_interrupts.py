"""Programs that wait end by a signal also when another thread than the main one was given it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

# The kernel chooses the thread; here it is made to choose one that is not the main one.
PROGRAM = """
import queue, signal, threading
from reunite.interrupts import next_of, terminable, wait_for_interrupt

def take(number):
    print("taken", flush=True)
    signal.pthread_kill(threading.get_ident(), number)
    threading.Event().wait()

with terminable():
    try:
        threading.Timer(0.1, take, [{number}]).start()
        {wait}
    except KeyboardInterrupt:
        print("interrupted", flush=True)
print(signal.getsignal(signal.SIGTERM) is signal.SIG_DFL, flush=True)
import os; os._exit(0)
"""


@pytest.mark.skipif(os.name != "posix", reason="signals of a POSIX system")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("wait", ["wait_for_interrupt()", "next_of(queue.SimpleQueue())"])
def test_a_signal_that_another_thread_took_ends_the_wait(wait: str, number: signal.Signals) -> None:
    program = PROGRAM.format(number=int(number), wait=wait)
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.stdout.split() == ["taken", "interrupted", "True"], done.stderr
