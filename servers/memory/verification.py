"""The part of the check of a large store that goes on while it is served already.

It decides in which thread that happens, how it ends, and that a store found damaged is not served on; it does
not know what is checked.
"""

import logging
import os
import threading

from servers.errors import RequestError, StoreUnusable
from servers.memory.store.base import Store
from servers.memory.store.marks import Marked

log = logging.getLogger(__name__)

LOWEST_PRIORITY = 19
"""As `nice` counts: the check takes only what nobody else wants."""


class Verification:
    """Verifies `store` in a thread of its own, from construction until its verdict or `stop`."""

    def __init__(self, store: Store) -> None:
        self._store = store if isinstance(store, Marked) else None
        self._found_damage = False
        self._thread = threading.Thread(target=self._run, name="memory-check", daemon=True)
        self._thread.start()

    @property
    def found_damage(self) -> bool:
        """Whether the store turned out to be damaged; the reason is in the log."""
        return self._found_damage

    def stop(self) -> None:
        """Cut the check short; blocks until the thread has ended."""
        if self._store is not None:
            self._store.stop_verifying()
        self._thread.join()

    def wait(self) -> None:
        """Block until there is a verdict."""
        self._thread.join()

    def _run(self) -> None:
        if self._store is None:
            return
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), LOWEST_PRIORITY)
        try:
            self._store.verify()
        except StoreUnusable as error:
            self._found_damage = True
            log.error("%s", error)
        except RequestError as error:
            log.error("the memory store could not be checked: %s", error)
