"""The engine on torch: a sentence-transformers model on a CPU or one CUDA device.

It decides how a model folder becomes an `Engine`: loaded by sentence-transformers from local files only,
run module by module, the transformer in float32, bfloat16 or float16, pooled in float32 whatever that is
(bfloat16 sums cost a cosine of 0.003). The model's own closing normalisation is left out, because clients
may ask for raw vectors. Importing this module takes seconds; only the model thread does it, and only when no
leaner engine serves.
"""

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import numpy as np
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Normalize
from tokenizers import Tokenizer
from torch import Tensor

from servers.embedding.engine import (
    DeviceMemory,
    EngineBroken,
    EngineOutOfMemory,
    ModelInfo,
    Tokens,
    Vectors,
)
from servers.embedding.models import ModelFiles, read_matryoshka
from servers.embedding.tokenizer import TextTokenizer
from servers.embedding.unpadded import UnpaddedTransformer, unpadded_if_right
from servers.errors import BadSettings, ModelMissing

_FALLBACK_MAX_TOKENS: Final = 512


_DTYPES: Final = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
_CPU_MEMORY: Final = "DefaultCPUAllocator"


class TextSide(NamedTuple):
    """How a loaded model reads texts: its tokenizer, limits, and what goes in front of every text."""

    tokenizer: Tokenizer
    max_tokens: int
    prompt: str
    pad_id: int
    pads_left: bool


def load_torch_engine(
    files: ModelFiles,
    device: str,
    threads: int | None,
    vram_bytes: int | None = None,
    *,
    dtype: str = "float32",
    reason: str | None = None,
) -> "TorchEngine":
    """Load the model in `files` onto `device` (auto, cpu, cuda, cuda:N); `threads` on a CPU (None: all).

    `vram_bytes` caps what torch's allocator takes of a GPU (None: all of it); the CUDA context, some hundred
    megabytes, comes on top. `dtype` is the transformer's number format: float32, bfloat16 or float16;
    `reason` is why it serves.
    Call it on the thread that will run the model: torch keeps the number of threads per calling thread.
    Raises `BadSettings` for a device that this machine lacks, `ModelMissing` for files that do not load.
    """
    if threads is not None:
        torch.set_num_threads(threads)
    place = resolve_device(device)
    if vram_bytes is not None and place.type == "cuda":
        cap_memory(place, vram_bytes)
    return TorchEngine(load_model(files, place, dtype), files, place, dtype, reason)


def load_model(files: ModelFiles, place: torch.device, dtype: str = "float32") -> SentenceTransformer:
    """Return the model in `files` as sentence-transformers loads it, ready to infer on `place`.

    Raises `EngineBroken` when the device cannot hold it, `ModelMissing` for files that do not load.
    """
    try:
        model = SentenceTransformer(
            str(files.path),
            device=str(place),
            local_files_only=True,
            trust_remote_code=False,
            model_kwargs={"dtype": _DTYPES[dtype]},
        )
    except (torch.OutOfMemoryError, torch.AcceleratorError) as error:
        raise EngineBroken(f"the model {files.name!r} cannot be put on {place}") from error
    except Exception as error:
        # Loaders raise whatever their parsers do; the device's own errors are told apart above.
        raise ModelMissing(
            f"The model {files.name!r} does not load: {error}",
            where=str(files.path),
            mend="Check that the folder is a complete sentence-transformers model, or fetch it again.",
        ) from error
    return model.eval()


def read_text_side(model: SentenceTransformer) -> TextSide:
    """Return how `model` reads texts."""
    processor: Any = model.tokenizer
    return TextSide(
        tokenizer=processor.backend_tokenizer,
        max_tokens=int(model.max_seq_length or _FALLBACK_MAX_TOKENS),
        prompt=(model.prompts or {}).get(model.default_prompt_name or "") or "",
        pad_id=int(processor.pad_token_id or 0),
        pads_left=processor.padding_side == "left",
    )


def cap_memory(place: torch.device, vram_bytes: int) -> None:
    """Let torch's allocator take at most `vram_bytes` of the CUDA device `place`."""
    total_bytes = torch.cuda.get_device_properties(place).total_memory
    torch.cuda.set_per_process_memory_fraction(min(1.0, vram_bytes / total_bytes), place)


def resolve_device(device: str) -> torch.device:
    """Return the device that `device` (auto, cpu, cuda, cuda:N) means here. Raises `BadSettings`."""
    if device == "auto":
        return torch.device("cuda:0" if torch.cuda.is_available() else "cpu")
    place = torch.device(device)
    if place.type == "cuda" and (place.index or 0) >= torch.cuda.device_count():
        raise BadSettings(
            f"The device {device!r} does not exist: torch sees {torch.cuda.device_count()} CUDA devices",
            where="options.device",
            mend="Set `device` to auto or cpu, or check the driver with `lucid-launch doctor`.",
        )
    return place


class TorchEngine:
    """An `Engine` around one loaded model."""

    def __init__(
        self,
        model: SentenceTransformer,
        files: ModelFiles,
        device: torch.device,
        dtype: str = "float32",
        reason: str | None = None,
    ) -> None:
        """Take over `model`, which was loaded as `dtype` and which nobody else may use from now on."""
        modules = list(model.children())
        while modules and isinstance(modules[-1], Normalize):
            modules.pop()
        self._modules = modules
        self._device = device
        self._unpadded: UnpaddedTransformer | None = None
        side = read_text_side(model)
        self._tokenizer = TextTokenizer(side.tokenizer, side.max_tokens, side.prompt)
        self._pad_id = side.pad_id
        self._pads_left = side.pads_left
        matryoshka = read_matryoshka(files.path)
        self._info = ModelInfo(
            name=files.name,
            dimensions=int(model.get_embedding_dimension() or 0),
            max_input_tokens=side.max_tokens,
            device=str(device),
            backend="torch",
            dtype=dtype,
            matryoshka=matryoshka.trained,
            matryoshka_dimensions=matryoshka.dimensions,
            reason=reason,
        )
        # Nothing else has the kernel; on a CPU a batch of about the same lengths loses next to nothing.
        if modules and device.type == "cuda" and dtype != "float32":
            self.leave_out_padding()

    def leave_out_padding(self) -> None:
        """Compute batches without padding from now on, if that gives the same vectors on this device."""
        self._unpadded = unpadded_if_right(
            self._modules[0], self._device, self._info.max_input_tokens, self._computed
        )

    @property
    def info(self) -> ModelInfo:
        """What is loaded."""
        return self._info

    def tokenize(self, texts: Sequence[str]) -> list[Tokens]:
        """Return each text's tokens; the library releases the interpreter lock meanwhile."""
        return self._tokenizer.tokenize(texts)

    def forward(self, batch: Sequence[Tokens]) -> Vectors:
        """Return the pooled float32 vectors of `batch`, in order, not normalised."""
        try:
            return self._computed(self._unpadded, batch)
        except torch.OutOfMemoryError as error:
            torch.cuda.empty_cache()
            raise EngineOutOfMemory(str(error)) from error
        except torch.AcceleratorError as error:
            raise EngineBroken(str(error)) from error
        except RuntimeError as error:
            if _CPU_MEMORY in str(error):
                raise EngineOutOfMemory(str(error)) from error
            raise

    @torch.inference_mode()
    def _computed(self, unpadded: UnpaddedTransformer | None, batch: Sequence[Tokens]) -> Vectors:
        first, *others = self._modules
        features = _in_float32(first(self._pad(batch)) if unpadded is None else unpadded(batch))
        for module in others:
            features = _in_float32(module(features))
        return np.ascontiguousarray(features["sentence_embedding"].to("cpu", torch.float32).numpy())

    def _pad(self, batch: Sequence[Tokens]) -> dict[str, Tensor]:
        longest = max(len(tokens) for tokens in batch)
        ids = np.full((len(batch), longest), self._pad_id, dtype=np.int64)
        mask = np.zeros((len(batch), longest), dtype=np.int64)
        for row, tokens in enumerate(batch):
            place = slice(longest - len(tokens), None) if self._pads_left else slice(0, len(tokens))
            ids[row, place] = tokens.ids
            mask[row, place] = 1
        return {
            "input_ids": torch.from_numpy(ids).to(self._device, non_blocking=True),
            "attention_mask": torch.from_numpy(mask).to(self._device, non_blocking=True),
        }

    def memory(self) -> DeviceMemory | None:
        """Return the CUDA device's memory as this process sees it, or None on a CPU."""
        if self._device.type != "cuda":
            return None
        return DeviceMemory(
            allocated_bytes=torch.cuda.memory_allocated(self._device),
            cached_bytes=torch.cuda.memory_reserved(self._device),
            max_allocated_bytes=torch.cuda.max_memory_allocated(self._device),
            utilization_percent=_utilization(self._device),
        )

    def close(self) -> None:
        """Free the model and the device memory that torch keeps cached."""
        self._modules = []
        if self._device.type == "cuda":
            torch.cuda.empty_cache()


def _in_float32(features: dict[str, Any]) -> dict[str, Any]:
    """Return the features with every floating tensor in float32, so that what follows sums without loss."""
    return {
        name: value.float() if isinstance(value, Tensor) and value.is_floating_point() else value
        for name, value in features.items()
    }


def _utilization(device: torch.device) -> float | None:
    try:
        return float(torch.cuda.utilization(device))
    except (ModuleNotFoundError, RuntimeError):
        # NVML is missing or does not support this (MIG slices): the figure is optional, the rest is not.
        return None
