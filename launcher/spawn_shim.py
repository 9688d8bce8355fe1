"""What runs between fork and the child's own program: arms the death signal, then becomes the program.

Run as `python -IS spawn_shim.py ORDER PROGRAM ARG…`, where ORDER is a JSON object; it replaces `preexec_fn`,
which deadlocks beside threads. The order matters: a change of user clears the death signal, so it is armed
after it, and then the parent is checked again, as it may have died in between (prctl(2)). A failure is
written to the status pipe as one line of text; end of file without one means that the program runs. Standard
library only.
"""

import ctypes
import json
import os
import resource
import signal
import sys

PR_SET_PDEATHSIG = 1


def main() -> None:
    """Prepare this process as ordered and become the program; never returns."""
    order = json.loads(sys.argv[1])
    argv = sys.argv[2:]
    status_fd = order["status_fd"]
    os.set_inheritable(status_fd, False)
    # Whoever started the supervisor may have left descriptors open that are none of the child's business.
    os.closerange(status_fd + 1, 2**31 - 1)
    try:
        _limit(order)
        _become_user(order)
        os.chdir(order["cwd"])
        _die_with(order["parent"])
        if order["listen_fds"]:
            os.environ["LISTEN_PID"] = str(os.getpid())
        os.execvp(argv[0], argv)
    except (OSError, ValueError) as error:
        text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        place = order["cwd"] if getattr(error, "filename", None) == order["cwd"] else argv[0]
        os.write(status_fd, f"cannot start {place}: {text}".encode())
        os._exit(127)


def _limit(order: dict) -> None:  # type: ignore[type-arg]  # typing would cost a tenth of the start
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if order["open_files"] is not None:
        # The hard limit too, or a program that knows how to raise the soft one would have none.
        resource.setrlimit(resource.RLIMIT_NOFILE, (order["open_files"], order["open_files"]))
    if order["cpus"]:
        os.sched_setaffinity(0, order["cpus"])


def _become_user(order: dict) -> None:  # type: ignore[type-arg]  # as above
    if order["uid"] is not None:
        os.setgroups(order["groups"])
        os.setresgid(order["gid"], order["gid"], order["gid"])
        os.setresuid(order["uid"], order["uid"], order["uid"])


def _die_with(parent: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG) failed")
    if os.getppid() != parent:
        os._exit(0)


if __name__ == "__main__":
    main()
