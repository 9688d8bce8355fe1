"""A stand-in for pynvml, typed: no GPU, one, four, MIG, one that vanishes, a driver that errs.

`FakeNvml` is the module in memory. As a file the same can stand in for `pynvml` in another process: put
`write_module`'s folder on PYTHONPATH, and change what that process sees with `write_state`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace

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
        self.opened = 0
        self.count_error: NVMLError | None = None
        self.state: Path | None = None
        self.holders: dict[str, dict[int, int | None]] = {}
        """Handle -> pid -> bytes."""

    def nvmlInit(self) -> None:  # pynvml's name
        """Opens, or fails as told."""
        if self.init_error is not None:
            raise self.init_error
        self.is_open = True
        self.opened += 1

    def nvmlShutdown(self) -> None:  # pynvml's name
        """Closes."""
        self.is_open = False

    def nvmlSystemGetDriverVersion(self) -> str:  # pynvml's name
        """A version."""
        return "580.82"

    def nvmlDeviceGetCount(self) -> int:  # pynvml's name
        """How many cards."""
        if self.count_error is not None:
            raise self.count_error
        self._look()
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
        """Who was said to hold it; MIG devices cannot tell."""
        if "." in handle:
            raise NotSupported
        held = self.holders.get(handle, {})
        return [SimpleNamespace(pid=pid, usedGpuMemory=used) for pid, used in held.items()]

    def nvmlDeviceGetCpuAffinity(self, handle: str, words: int) -> list[int]:  # pynvml's name
        """The first card is near the first processor, and so on; a MIG device cannot tell."""
        if "." in handle:
            raise NotSupported
        return [1 << int(handle)] + [0] * (words - 1)

    def nvmlDeviceGetUtilizationRates(self, handle: str) -> SimpleNamespace:  # pynvml's name
        """Half busy."""
        return SimpleNamespace(gpu=50, memory=10)

    def nvmlDeviceGetTemperature(self, handle: str, sensor: int) -> int:  # pynvml's name
        """Warm; a MIG device cannot tell."""
        if "." in handle or sensor != 0:
            raise NotSupported
        return 54

    def nvmlDeviceGetPowerUsage(self, handle: str) -> int:  # pynvml's name
        """Milliwatts; a MIG device cannot tell."""
        if "." in handle:
            raise NotSupported
        return 212_400

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

    @classmethod
    def from_file(cls, state: str) -> FakeNvml:
        """A fake whose cards are read anew from a file each time they are counted."""
        fake = cls({})
        fake.state = Path(state)
        return fake

    def _look(self) -> None:
        if self.state is None:
            return
        document = json.loads(self.state.read_text(encoding="utf-8"))
        self.cards = {
            int(index): NVMLError(card) if isinstance(card, str) else (card[0], card[1])
            for index, card in document["cards"].items()
        }
        self.holders = {"0": {int(pid): used for pid, used in document["holders"].items()}}


MODULE = """\
import json, sys
sys.path.insert(0, {root!r})
from tests.launcher.nvml_double import *
from tests.launcher.nvml_double import FakeNvml
_fake = FakeNvml.from_file({state!r})
NVMLError_LibraryNotFound, NVMLError_NotSupported = LibraryNotFound, NotSupported
def __getattr__(name):
    return getattr(_fake, name)
"""


def write_module(folder: Path, state: Path) -> None:
    """Put a `pynvml` into `folder` that reads what it answers from the file `state`."""
    folder.mkdir(parents=True, exist_ok=True)
    root = str(Path(__file__).parents[2])
    (folder / "pynvml.py").write_text(MODULE.format(root=root, state=str(state)), encoding="utf-8")


def write_state(
    state: Path, cards: Mapping[int, tuple[int, int] | str], holders: Mapping[int, int] | None = None
) -> None:
    """Say which cards there are (total and free GiB, or an error), and who holds bytes of the first."""
    document = {"cards": {str(i): card for i, card in cards.items()}, "holders": dict(holders or {})}
    fresh = state.with_suffix(".new")
    fresh.write_text(json.dumps(document), encoding="utf-8")
    fresh.replace(state)
