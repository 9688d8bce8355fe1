"""The tables of the PostgreSQL store, and what a server must be for them.

It decides what a version of the schema is and which servers are refused; it does not know rows. Plain SQL and
pgvector's `vector` type only, so that relatives of PostgreSQL can follow.
"""

from typing import Any, Final

import psycopg

from servers.errors import StoreUnusable

SCHEMA: Final = "lucid_memory"
LEAST_VECTOR: Final = (0, 8, 4)
"""Before pgvector 0.8.4 a vacuum could corrupt its indexes (pgvector's changelog, 0.8.3 and 0.8.4)."""

# Texts that may hold NUL are bytes, since PostgreSQL's text cannot; `facts` repeats what filters compare.
_VERSION_1: Final = f"""
CREATE TABLE {SCHEMA}.properties (name text PRIMARY KEY, value text NOT NULL);
CREATE TABLE {SCHEMA}.writers (name text PRIMARY KEY, last_group bigint NOT NULL);
CREATE TABLE {SCHEMA}.memories (
    seq bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    id text COLLATE "C" NOT NULL UNIQUE,
    namespace text COLLATE "C" NOT NULL,
    text bytea NOT NULL,
    timestamp_ms bigint NOT NULL,
    significance float8 NOT NULL,
    surprise float8 NOT NULL,
    type bytea,
    tags bytea NOT NULL,
    metadata bytea NOT NULL,
    duplicate_of text COLLATE "C",
    expires_at_ms bigint,
    deleted_at_ms bigint,
    deletion text COLLATE "C",
    vector vector NOT NULL,
    checksum bigint NOT NULL,
    facts jsonb NOT NULL
);
CREATE INDEX memories_by_namespace ON {SCHEMA}.memories (namespace, seq);
CREATE INDEX memories_by_time ON {SCHEMA}.memories (namespace, timestamp_ms);
CREATE INDEX memories_deleted ON {SCHEMA}.memories (deleted_at_ms) WHERE deleted_at_ms IS NOT NULL;
CREATE INDEX memories_by_deletion ON {SCHEMA}.memories (deletion) WHERE deletion IS NOT NULL;
CREATE INDEX memories_expiring ON {SCHEMA}.memories (expires_at_ms)
    WHERE expires_at_ms IS NOT NULL AND deleted_at_ms IS NULL;
"""

MIGRATIONS: Final[tuple[str, ...]] = (_VERSION_1,)
"""Step n leads from version n to n + 1. Steps are only ever added: databases of every version exist."""


def prepare(connection: psycopg.Connection[Any], where: str) -> int:
    """Make or update the tables, in one transaction; returns the version.

    Raises StoreUnusable for a server without a usable pgvector, or tables of a newer version.
    """
    with connection.transaction():
        connection.execute(f"CREATE SCHEMA IF NOT EXISTS {SCHEMA}")
        _require_vector(connection, where)
        version = _version(connection)
        if version > len(MIGRATIONS):
            raise StoreUnusable(
                f"a newer version wrote this memory store (schema {version}, known: {len(MIGRATIONS)})",
                where=where,
                mend="install the newer lucid-launch again, or name another database with the option `store`",
            )
        for number, step in enumerate(MIGRATIONS[version:], start=version + 1):
            connection.execute(step)
            connection.execute(
                f"INSERT INTO {SCHEMA}.properties VALUES ('schema_version', %s) "
                "ON CONFLICT (name) DO UPDATE SET value = excluded.value",
                (str(number),),
            )
    return len(MIGRATIONS)


def _version(connection: psycopg.Connection[Any]) -> int:
    (table,) = connection.execute("SELECT to_regclass(%s)", (f"{SCHEMA}.properties",)).fetchone() or (None,)
    if table is None:
        return 0
    statement = f"SELECT value FROM {SCHEMA}.properties WHERE name = 'schema_version'"
    (version,) = connection.execute(statement).fetchone() or ("0",)
    return int(version)


def _require_vector(connection: psycopg.Connection[Any], where: str) -> None:
    mend = "install pgvector 0.8.4 or newer on the server, and let this user (or an administrator) create it"
    try:
        connection.execute("CREATE EXTENSION IF NOT EXISTS vector")
    except (psycopg.errors.FeatureNotSupported, psycopg.errors.UndefinedFile) as error:
        raise StoreUnusable("the PostgreSQL server has no pgvector", where=where, mend=mend) from error
    except psycopg.errors.InsufficientPrivilege as error:
        text = "this user may not create the extension pgvector in the database"
        raise StoreUnusable(text, where=where, mend="CREATE EXTENSION vector; as administrator") from error
    statement = "SELECT extversion FROM pg_extension WHERE extname = 'vector'"
    (version,) = connection.execute(statement).fetchone() or ("0",)
    if tuple(int(part) for part in version.split(".")[:3]) < LEAST_VECTOR:
        text = f"the server's pgvector is {version}, and before 0.8.4 it could corrupt its indexes"
        raise StoreUnusable(
            text, where=where, mend="ALTER EXTENSION vector UPDATE, after installing 0.8.4 or newer"
        )
