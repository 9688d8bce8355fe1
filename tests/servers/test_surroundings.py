"""What the launcher tells a server process is read strictly."""

import pytest

from servers.errors import BadSettings
from servers.surroundings import read_child, read_peers, read_version


def test_peers_are_read_from_the_environment() -> None:
    """LUCID_PEERS is an object of names and URLs; without it there are none."""
    assert read_peers({}) == {}
    assert read_peers({"LUCID_PEERS": '{"memory": "ws://localhost:5000"}'}) == {
        "memory": "ws://localhost:5000"
    }


@pytest.mark.parametrize("text", ["{", "[]", '{"memory": 5000}'])
def test_malformed_peers_are_refused_with_the_variable_named(text: str) -> None:
    """Anything but an object of strings stops the start and says where it came from."""
    with pytest.raises(BadSettings, match="LUCID_PEERS"):
        read_peers({"LUCID_PEERS": text})


def test_the_version_is_never_empty() -> None:
    """Every server can say which version it is."""
    assert read_version()


def test_a_replica_knows_its_name_and_a_server_run_alone_has_none() -> None:
    """LUCID_CHILD is how replicas that share a port are told apart."""
    assert read_child({"LUCID_CHILD": "inference.1"}) == "inference.1"
    assert read_child({"LUCID_CHILD": ""}) is None
    assert read_child({}) is None
