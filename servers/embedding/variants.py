"""Which ways there are to compute a model: engine and number format, and what each accuracy class admits.

Pure. It decides the candidates for a machine, and which measured candidate wins and why. It measures nothing
and loads nothing.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final, Literal, Self

Backend = Literal["torch", "openvino", "onnx"]
Accuracy = Literal["exact", "high", "fast"]


@dataclass(frozen=True, slots=True, order=True)
class Variant:
    """One way to compute a model: an engine and the number format of its matrix products."""

    backend: Backend
    dtype: str

    def __str__(self) -> str:
        """Return the variant in words."""
        return f"{self.backend} {self.dtype}"


REFERENCE: Final = Variant("torch", "float32")
"""What every other variant is held against: sentence-transformers' own arithmetic."""

CPU_VARIANTS: Final = (
    REFERENCE,
    Variant("torch", "bfloat16"),
    Variant("openvino", "float32"),
    Variant("openvino", "bfloat16"),
    Variant("openvino", "int8"),
    Variant("onnx", "float32"),
    Variant("onnx", "int8"),
)
CUDA_VARIANTS: Final = (REFERENCE, Variant("torch", "float16"), Variant("torch", "bfloat16"))


@dataclass(frozen=True, slots=True)
class Requirement:
    """What an accuracy class asks of a variant, on the probe texts, against the reference.

    `min_cosine` holds for every single text, `rank_agreement` is the mean share of each text's ten nearest
    that stay the same, `batch_delta` bounds how far a unit vector may move with what shares its batch.
    """

    dtypes: frozenset[str]
    min_cosine: float
    rank_agreement: float
    batch_delta: float


REQUIREMENTS: Final = MappingProxyType[Accuracy, Requirement](
    {
        "exact": Requirement(frozenset({"float32"}), 0.999999, 0.999, 1e-5),
        "high": Requirement(frozenset({"float32", "bfloat16", "float16"}), 0.9999, 0.95, 1e-3),
        "fast": Requirement(frozenset({"float32", "bfloat16", "float16", "int8"}), 0.99, 0.85, 2e-2),
    }
)


@dataclass(frozen=True, slots=True)
class Measurement:
    """What one variant did on this machine; `failure` is set when it could not be measured at all."""

    variant: Variant
    texts_per_s: float = 0.0
    min_cosine: float = 0.0
    mean_cosine: float = 0.0
    rank_agreement: float = 0.0
    batch_delta: float = 0.0
    failure: str | None = None


@dataclass(frozen=True, slots=True)
class Choice:
    """The variant to serve with, on which device, and why, in one sentence for people."""

    variant: Variant
    device: str
    reason: str
    measured: tuple[dict[str, Any], ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return the choice as a JSON object."""
        return {
            "backend": self.variant.backend,
            "dtype": self.variant.dtype,
            "device": self.device,
            "reason": self.reason,
            "measured": list(self.measured),
        }

    @classmethod
    def from_json(cls, fields: dict[str, Any]) -> Self:
        """Return the choice that `to_json` wrote. Raises `KeyError` or `ValueError` for anything else."""
        variant = Variant(fields["backend"], fields["dtype"])
        if variant not in (*CPU_VARIANTS, *CUDA_VARIANTS):
            raise ValueError(f"unknown variant {variant}")
        return cls(variant, str(fields["device"]), str(fields["reason"]), tuple(fields["measured"]))


class NothingFits(Exception):
    """No candidate meets the accuracy class; the text says what each fell short of."""


def candidates(
    backend: str, accuracy: Accuracy, *, installed: Collection[str], on_cuda: bool, has_bfloat16: bool
) -> tuple[Variant, ...]:
    """Return the variants worth measuring: installed, asked for (`backend` or auto), within the class.

    torch in bfloat16 is only a candidate of `fast` on a CPU: it rounds between all operations, so that its
    vectors move with the batch.
    """
    dtypes = REQUIREMENTS[accuracy].dtypes
    return tuple(
        variant
        for variant in (CUDA_VARIANTS if on_cuda else CPU_VARIANTS)
        if variant.backend in installed
        and backend in ("auto", variant.backend)
        and variant.dtype in dtypes
        and (on_cuda or has_bfloat16 or variant.dtype != "bfloat16")
        and (on_cuda or accuracy == "fast" or variant != Variant("torch", "bfloat16"))
    )


def shortfall(measurement: Measurement, accuracy: Accuracy) -> str | None:
    """Return what keeps a variant out of the class, in words, or None when it is in."""
    required = REQUIREMENTS[accuracy]
    if measurement.failure is not None:
        return measurement.failure
    if measurement.variant.dtype not in required.dtypes:
        return f"`accuracy: {accuracy}` does not allow {measurement.variant.dtype}"
    if not measurement.min_cosine >= required.min_cosine:
        return f"min cosine {measurement.min_cosine:.6f} is below {required.min_cosine}"
    if not measurement.rank_agreement >= required.rank_agreement:
        return f"rank agreement {measurement.rank_agreement:.3f} is below {required.rank_agreement}"
    if not measurement.batch_delta <= required.batch_delta:
        return f"vectors move by {measurement.batch_delta:.1e} with their batch, over {required.batch_delta}"
    return None


def choose(measured: Sequence[Measurement], accuracy: Accuracy, device: str) -> Choice:
    """Return the fastest variant within the class, with the reason. Raises `NothingFits`."""
    refusals = {each.variant: shortfall(each, accuracy) for each in measured}
    fitting = [each for each in measured if refusals[each.variant] is None]
    refused = "; ".join(f"{variant} refused: {why}" for variant, why in refusals.items() if why)
    if not fitting:
        raise NothingFits(refused or "there was nothing to measure")
    best = max(fitting, key=lambda each: each.texts_per_s)
    others = sorted((each for each in fitting if each is not best), key=lambda each: -each.texts_per_s)
    parts = [
        f"{best.variant} at {best.texts_per_s:.0f} texts/s, min cosine {best.min_cosine:.6f}",
        *(f"{each.variant} {each.texts_per_s:.0f}/s" for each in others),
        *([refused] if refused else []),
    ]
    rows = tuple(_row(each, refusals[each.variant]) for each in measured)
    return Choice(best.variant, device, f"fastest within `accuracy: {accuracy}`: " + "; ".join(parts), rows)


def _row(measurement: Measurement, refusal: str | None) -> dict[str, Any]:
    return {
        "backend": measurement.variant.backend,
        "dtype": measurement.variant.dtype,
        "texts_per_s": round(measurement.texts_per_s, 1),
        "min_cosine": round(measurement.min_cosine, 7),
        "mean_cosine": round(measurement.mean_cosine, 7),
        "rank_agreement": round(measurement.rank_agreement, 4),
        "batch_delta": float(f"{measurement.batch_delta:.2g}"),
        "refused": refusal,
    }
