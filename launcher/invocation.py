"""What one call of `lucid-launch` was told before its verb: which config file, and how to speak to the user.

Light on purpose: nothing here imports pydantic, yaml, rich or asyncio, since every verb pays for it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from launcher.errors import ConfigMissing
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
        Raises ConfigMissing when there is none.
        """
        if self.file is not None:
            path = (self.directory / self.file).absolute()
            if not path.is_file():
                raise ConfigMissing(path)
            return path
        start = self.directory.absolute()
        for folder in (start, *start.parents):
            if (folder / CONFIG_NAME).is_file():
                return folder / CONFIG_NAME
        raise ConfigMissing(*(folder / CONFIG_NAME for folder in (start, *start.parents)))
