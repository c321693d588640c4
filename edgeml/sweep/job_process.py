"""Runs a Python module as a program that ends when the process which started it does.

`python -m edgeml.sweep.job_process MODULE ARGUMENT...`; standard input is a pipe that the parent holds open and never
writes to. Its end is the parent's, however that came about, and is answered as Ctrl-C is: in good order.
"""

from __future__ import annotations

import os
import runpy
import signal
import sys
import threading
import time

GRACE_S = 15.0


def main() -> None:
    """Run the module that the first argument names with the arguments behind it."""
    # A shell that started the sweep in the background had SIGINT ignored.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    del sys.argv[0]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)


def _end_with_parent() -> None:
    while os.read(0, 4096):
        pass
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(GRACE_S)
    if os.getpgrp() == os.getpid():
        os.killpg(0, signal.SIGKILL)
    os._exit(130)


if __name__ == "__main__":
    main()
