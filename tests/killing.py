"""A program that SIGKILL ends when it touches the disk, each time in a process of its own, which is copied (fork)."""

import os
import signal
import sys
from collections.abc import Callable


def sit(work: Callable[[], int], concerns: Callable[[str], bool], kill_at: int | None = None) -> tuple[int, int]:
    """One sitting: how it ended (0 or a signal), and how many moments it had.

    Args:
        work: what the process does; returns its exit code.
        concerns: whether a path counts: each time such a file is opened to be written, or renamed, is a moment.
        kill_at: the moment, from 1, at which the process is killed.
    """
    reading, writing = os.pipe()
    process = os.fork()
    if process == 0:
        moments = 0

        def hook(event: str, arguments: tuple) -> None:
            """Called by Python before it opens or renames any file."""
            nonlocal moments
            if event not in ("open", "os.rename") or not concerns(str(arguments[0])):
                return
            if event == "open" and not arguments[2] & (os.O_WRONLY | os.O_RDWR):
                return
            moments += 1
            if moments == kill_at:
                os.kill(os.getpid(), signal.SIGKILL)

        sys.addaudithook(hook)
        code = work()
        os.write(writing, str(moments).encode())
        os._exit(code)
    os.close(writing)
    _, status = os.waitpid(process, 0)
    moments = int(os.read(reading, 20) or 0)
    os.close(reading)
    return status, moments
