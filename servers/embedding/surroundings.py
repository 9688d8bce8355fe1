"""What the model's libraries are told through the environment before they are imported."""

from types import MappingProxyType
from typing import Final

LIBRARY_ENVIRONMENT: Final = MappingProxyType(
    {
        # The libraries look for updates and remote code even for local folders unless told not to.
        "HF_HUB_OFFLINE": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        # OpenMP's threads spin while they wait. Where another process wants the same cores, which is the rule
        # with two servers on one machine, every barrier then lasts a time slice: forwards of 9 ms took 200 to
        # 900 ms. Sleeping costs 6 ms of a lone forward and keeps the worst near the best.
        "OMP_WAIT_POLICY": "PASSIVE",
    }
)
"""What the model's libraries are told through the environment, unless the user has said otherwise."""
