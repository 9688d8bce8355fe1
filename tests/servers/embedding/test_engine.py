"""What a model allows: its native width, or the widths it was trained for."""

import pytest

from servers.embedding.engine import DeviceMemory, ModelInfo

PLAIN = ModelInfo("plain", 384, 256, "cpu", "torch", "float32")
ANY = ModelInfo("any", 768, 512, "cpu", "torch", "float32", matryoshka=True)
SOME = ModelInfo(
    "some", 768, 512, "cpu", "torch", "float32", matryoshka=True, matryoshka_dimensions=(128, 256)
)


@pytest.mark.parametrize(
    ("info", "dimensions", "allowed"),
    [
        (PLAIN, 384, True),
        (PLAIN, 383, False),
        (PLAIN, 0, False),
        (ANY, 1, True),
        (ANY, 768, True),
        (ANY, 769, False),
        (SOME, 128, True),
        (SOME, 768, True),
        (SOME, 129, False),
    ],
)
def test_only_meaningful_widths_are_allowed(info: ModelInfo, dimensions: int, allowed: bool) -> None:
    """Shorter vectors are only for models trained for them, to the widths they were trained for."""
    assert info.allows(dimensions) is allowed


def test_the_allowed_widths_are_said_in_words() -> None:
    """The refusal can name what would be accepted."""
    assert PLAIN.allowed_dimensions().startswith("384 (")
    assert ANY.allowed_dimensions() == "1 to 768"
    assert SOME.allowed_dimensions() == "128, 256, 768"


def test_device_memory_is_shown_in_gigabytes() -> None:
    """Clients read gigabytes and percent under the names of the contract."""
    memory = DeviceMemory(1 << 30, 3 << 29, 2 << 30, None)
    assert memory.as_stats() == {"allocated": 1.0, "cached": 1.5, "max_allocated": 2.0, "utilization": None}
