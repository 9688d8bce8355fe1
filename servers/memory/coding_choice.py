"""Which codes the first pass of a search goes over on this machine.

It decides by trying the kernels, not by the names of processors; it does not know how much memory there is.
"""

from servers.memory.codes import Coding, Mode
from servers.memory.float_codes import Float16Coding, Float32Coding
from servers.memory.int8_codes import Int8Coding


def choose_coding(
    device: str, dimensions: int, wanted: Mode | None = None, *, is_frugal: bool = False
) -> Coding:
    """Return the fastest coding that is right on this machine; `wanted` asks for one and is not checked.

    `is_frugal` says that blocks are to be moved to files.
    """
    if wanted is not None:
        return _made(wanted, device, is_frugal)
    if device == "cpu" and Int8Coding().is_exact(dimensions):
        return _made("int8", device, is_frugal)
    return _made("float16" if Float16Coding(device).is_sound(dimensions) else "float32", device, is_frugal)


def _made(mode: Mode, device: str, is_frugal: bool) -> Coding:
    if mode == "int8":
        return Int8Coding(keeps_plain=is_frugal)
    return Float16Coding(device) if mode == "float16" else Float32Coding(device, is_frugal=is_frugal)
