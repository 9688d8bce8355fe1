"""NVML read through a stand-in: none, one, four, MIG, a lost card, an old driver."""

from types import SimpleNamespace

import pytest

from launcher.gpus import NvmlReader

GIB = 1024**3


class NVMLError(Exception):
    """As pynvml has it."""


class LibraryNotFound(NVMLError):
    """No driver."""


class NotSupported(NVMLError):
    """This card cannot."""


class FakeNvml:
    """The part of pynvml that is used. `cards` maps an index to its memory in GiB, or an error to raise."""

    NVMLError = NVMLError
    NVMLError_LibraryNotFound = LibraryNotFound
    NVMLError_NotSupported = NotSupported

    def __init__(
        self, cards: dict[int, tuple[int, int] | NVMLError], *, init: NVMLError | None = None, mig: int = 0
    ) -> None:
        self.cards = cards
        self.init_error = init
        self.mig = mig
        self.is_open = False

    def nvmlInit(self) -> None:  # pynvml's name
        """Opens, or fails as told."""
        if self.init_error is not None:
            raise self.init_error
        self.is_open = True

    def nvmlShutdown(self) -> None:  # pynvml's name
        """Closes."""
        self.is_open = False

    def nvmlSystemGetDriverVersion(self) -> str:  # pynvml's name
        """A version."""
        return "580.82"

    def nvmlDeviceGetCount(self) -> int:  # pynvml's name
        """How many cards."""
        return len(self.cards)

    def nvmlDeviceGetHandleByIndex(self, index: int) -> str:  # pynvml's name
        """The handle is the index as text, or the card's error."""
        card = self.cards[index]
        if isinstance(card, NVMLError):
            raise card
        return str(index)

    def nvmlDeviceGetUUID(self, handle: str) -> str:  # pynvml's name
        """MIG devices have their own kind of identifier."""
        return f"MIG-{handle}" if "." in handle else f"GPU-{handle}"

    def nvmlDeviceGetName(self, handle: str) -> bytes:  # pynvml's name
        """Bytes, as older versions answer."""
        return b"NVIDIA H200"

    def nvmlDeviceGetMemoryInfo(self, handle: str) -> SimpleNamespace:  # pynvml's name
        """Total and free."""
        total, free = self.cards[int(handle.split(".")[0])]  # type: ignore[misc]  # no error got this far
        return SimpleNamespace(total=total * GIB, free=free * GIB)

    def nvmlDeviceGetComputeRunningProcesses(self, handle: str) -> list[SimpleNamespace]:  # pynvml's name
        """Two holders, one of unknown size; MIG devices cannot tell."""
        if "." in handle:
            raise NotSupported
        return [SimpleNamespace(pid=7, usedGpuMemory=GIB), SimpleNamespace(pid=8, usedGpuMemory=None)]

    def nvmlDeviceGetMigMode(self, handle: str) -> tuple[int, int]:  # pynvml's name
        """On, or not known to this card."""
        if not self.mig:
            raise NotSupported
        return (1, 1)

    def nvmlDeviceGetMaxMigDeviceCount(self, handle: str) -> int:  # pynvml's name
        """Seven slots."""
        return 7

    def nvmlDeviceGetMigDeviceHandleByIndex(self, handle: str, slot: int) -> str:  # pynvml's name
        """Only the first slots are used."""
        if slot >= self.mig:
            raise NotSupported
        return f"{handle}.{slot}"


@pytest.mark.parametrize("count", [0, 1, 4])
def test_each_gpu_is_read(count: int) -> None:
    """Identifier, index, name, memory and holders; NVML is closed again."""
    nvml = FakeNvml({index: (141, 100 + index) for index in range(count)})
    report = NvmlReader(nvml).read()
    assert [gpu.uuid for gpu in report.gpus] == [f"GPU-{index}" for index in range(count)]
    assert [gpu.index for gpu in report.gpus] == list(range(count))
    assert report.driver_version == "580.82"
    assert report.problem is None
    assert not nvml.is_open
    for gpu in report.gpus:
        assert (gpu.name, gpu.total_bytes, gpu.is_split) == ("NVIDIA H200", 141 * GIB, False)
        assert gpu.free_bytes == (100 + (gpu.index or 0)) * GIB
        assert [(holder.pid, holder.used_bytes) for holder in gpu.holders] == [(7, GIB), (8, None)]


def test_mig_devices_are_listed_beside_their_gpu() -> None:
    """The whole is marked as split; its parts have no index but a parent."""
    whole, *parts = NvmlReader(FakeNvml({0: (141, 141)}, mig=2)).read().gpus
    assert whole.is_split
    assert [(part.uuid, part.index, part.parent) for part in parts] == [
        ("MIG-0.0", None, "GPU-0"),
        ("MIG-0.1", None, "GPU-0"),
    ]
    assert all(part.holders == () for part in parts)


def test_a_lost_card_does_not_hide_the_others() -> None:
    """It is a problem beside the healthy ones."""
    report = NvmlReader(FakeNvml({0: NVMLError("GPU is lost"), 1: (80, 80)})).read()
    assert [gpu.index for gpu in report.gpus] == [1]
    assert report.problem == "GPU 0 does not answer: GPU is lost"


@pytest.mark.parametrize(
    ("error", "words"),
    [(LibraryNotFound(), "no NVIDIA driver answers"), (NVMLError("driver/library mismatch"), "mismatch")],
)
def test_no_driver_is_a_reason_and_no_exception(error: NVMLError, words: str) -> None:
    """Empty, with why."""
    report = NvmlReader(FakeNvml({}, init=error)).read()
    assert report.gpus == ()
    assert words in (report.problem or "")
