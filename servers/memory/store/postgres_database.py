"""The database behind the PostgreSQL store: how it is connected to, and the lock of the server that writes.

It decides the defaults of a connection, and that two servers never write at once. It does not know what is
read or written, nor when a connection is given up.
"""

import os
import socket
from contextlib import suppress
from typing import Any, Final

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from servers.errors import StoreUnusable
from servers.memory.store.postgres_rows import register_vectors

Connection = psycopg.Connection[Any]

LOCK_KEY: Final = 0x4C554344
"""'LUCD': the advisory lock of the one server that writes."""

_DEFAULTS: Final = {
    "connect_timeout": "5",
    "target_session_attrs": "read-write",
    "keepalives_idle": "5",
    "keepalives_interval": "2",
    "keepalives_count": "3",
    "tcp_user_timeout": "10000",
}


class Database:
    """The database that `dsn` names (several hosts: the one that can be written to)."""

    def __init__(self, dsn: str) -> None:
        known = conninfo_to_dict(dsn)
        name = f"lucid-memory {os.getpid()}@{socket.gethostname()}"
        self._dsn = make_conninfo(dsn, **{**_DEFAULTS, "application_name": name, **known})

    @property
    def where(self) -> str:
        """The database, without the password."""
        known = conninfo_to_dict(self._dsn)
        return f"postgresql://{known.get('host', 'localhost')}/{known.get('dbname', '')}"

    def connect(self) -> Connection:
        """Open a connection that commits every statement by itself."""
        connection = psycopg.connect(self._dsn, autocommit=True)
        with suppress(psycopg.errors.UndefinedObject):  # before the extension was created, at the first start
            register_vectors(connection)
        return connection

    def open_writer(self, lock_wait_s: float) -> Connection:
        """Open the one connection that writes; waits at most `lock_wait_s` seconds for another server's end.

        Raises StoreUnusable while another server has the store open, psycopg.Error when none can be reached.
        """
        writer = self.connect()
        try:
            if writer.execute("SHOW synchronous_commit").fetchone() == ("off",):
                writer.execute("SET synchronous_commit = on")
            self._take_lock(writer, lock_wait_s)
        except BaseException:
            writer.close()
            raise
        return writer

    def _take_lock(self, writer: Connection, lock_wait_s: float) -> None:
        milliseconds = max(1, int(1000 * lock_wait_s))
        writer.execute("SELECT set_config('lock_timeout', %s, false)", (f"{milliseconds}ms",))
        try:
            writer.execute("SELECT pg_advisory_lock(%s)", (LOCK_KEY,))
        except psycopg.errors.LockNotAvailable as error:
            raise StoreUnusable(
                f"another server has this memory store open: {_holder(writer)}",
                where=self.where,
                mend="stop that server, or name another database with the option `store`",
            ) from error
        writer.execute("SELECT set_config('lock_timeout', '0', false)")


def _holder(connection: Connection) -> str:
    found = connection.execute(
        "SELECT application_name, client_addr FROM pg_locks JOIN pg_stat_activity USING (pid) "
        "WHERE locktype = 'advisory' AND objid = %s AND granted",
        (LOCK_KEY,),
    ).fetchone()
    return "unknown" if found is None else f"{found[0]} from {found[1] or 'this machine'}"
