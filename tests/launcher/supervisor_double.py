"""What a guardian starts in a test in place of Python: it gives its descriptors away and ends when told to.

Run by `played_supervisor`; connects to the socket that LUCID_TEST_STAGE names, says what it was started with,
and sends along what it was given from descriptor 3 on.
"""

import array
import json
import os
import signal
import socket
import sys


def main() -> None:
    """Hand the part over, then wait for the line `exit N`, or to be killed."""
    # It ends when its stage is gone, and not before it has said so.
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as stage:
        given = [fd for fd in (3, 4) if is_open(fd) and fd != stage.fileno()]
        stage.connect(os.environ["LUCID_TEST_STAGE"])
        signal.signal(signal.SIGHUP, lambda number, frame: stage.send(b"SIGHUP"))
        about = json.dumps({"pid": os.getpid(), "argv": sys.argv[1:]}).encode()
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", given))] if given else []
        stage.sendmsg([about], rights)
        for fd in given:
            os.close(fd)
        word, _, code = stage.recv(100).decode().partition(" ")
        os._exit(int(code) if word == "exit" else 0)


def is_open(fd: int) -> bool:
    """Whether there is such a descriptor."""
    return os.path.exists(f"/proc/self/fd/{fd}")


if __name__ == "__main__":
    main()
