"""What one call of `lucid-launch` was told before its verb: which config file, and how to speak to the user.

Light on purpose: nothing here imports pydantic, yaml, rich or asyncio, since every verb pays for it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from launcher.errors import ConfigMissing
from launcher.runtime_dir import read_owner_pid, runtime_paths
from launcher.terminal.output import Output

CONFIG_NAME = "config.yaml"


@dataclass(frozen=True)
class Invocation:
    """The global options of one call; verbs receive it as click's `obj`."""

    file: Path | None
    directory: Path
    output: Output
    environ: Mapping[str, str]

    def config_path(self) -> Path:
        """The absolute path of the config file that this call is about.

        `-f` wins (relative to `-C`); else `config.yaml` in the folder or the nearest parent that has one.
        A file that is gone while its stack runs is still named, so that this can be seen and stopped.
        Raises ConfigMissing when there is neither.
        """
        start = self.directory.absolute()
        places = [folder / CONFIG_NAME for folder in (start, *start.parents)]
        if self.file is not None:
            places = [(self.directory / self.file).absolute()]
        for is_one in (Path.is_file, _has_stack):
            found = next((path for path in places if is_one(path)), None)
            if found is not None:
                return found
        raise ConfigMissing(*places)


def _has_stack(path: Path) -> bool:
    return read_owner_pid(runtime_paths(path)) is not None
