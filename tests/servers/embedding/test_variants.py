"""The accuracy class admits, the speed decides, and the reason says both."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from servers.embedding.variants import (
    CPU_VARIANTS,
    CUDA_VARIANTS,
    REFERENCE,
    REQUIREMENTS,
    Accuracy,
    Choice,
    Measurement,
    NothingFits,
    Variant,
    candidates,
    choose,
    shortfall,
)

EVERYTHING = frozenset({"torch", "openvino", "onnx"})
OPENVINO = Variant("openvino", "float32")
BFLOAT16 = Variant("openvino", "bfloat16")
INT8 = Variant("onnx", "int8")


def perfect(variant: Variant, texts_per_s: float) -> Measurement:
    """A variant that is exactly the reference."""
    return Measurement(variant, texts_per_s, 1.0, 1.0, 1.0, 0.0)


@pytest.mark.parametrize(
    ("backend", "accuracy", "dtypes"),
    [
        ("auto", "exact", {"float32"}),
        ("auto", "high", {"float32", "bfloat16"}),
        ("auto", "fast", {"float32", "bfloat16", "int8"}),
        ("onnx", "high", {"float32"}),
        ("torch", "high", {"float32"}),
    ],
)
def test_a_class_names_the_number_formats_that_may_be_tried(
    backend: str, accuracy: Accuracy, dtypes: set[str]
) -> None:
    """int8 is only ever tried as `fast`, and bfloat16 never as `exact`."""
    found = candidates(backend, accuracy, installed=EVERYTHING, on_cuda=False, has_bfloat16=True)
    assert {variant.dtype for variant in found} == dtypes
    assert backend == "auto" or {variant.backend for variant in found} == {backend}


def test_what_is_not_installed_or_not_computed_here_is_not_tried() -> None:
    """Without the CPU engines torch remains; without the instructions bfloat16 is left out."""
    assert candidates("auto", "high", installed={"torch"}, on_cuda=False, has_bfloat16=True) == (REFERENCE,)
    assert candidates("onnx", "high", installed={"torch"}, on_cuda=False, has_bfloat16=True) == ()
    plain = candidates("auto", "fast", installed=EVERYTHING, on_cuda=False, has_bfloat16=False)
    assert all(variant.dtype != "bfloat16" for variant in plain)


def test_on_a_gpu_torch_is_the_engine() -> None:
    """On CUDA the half formats are tried, and no CPU engine is."""
    found = candidates("auto", "high", installed=EVERYTHING, on_cuda=True, has_bfloat16=False)
    assert found == CUDA_VARIANTS


@pytest.mark.parametrize(
    ("measurement", "accuracy", "says"),
    [
        (Measurement(BFLOAT16, 900, 0.99995, 1, 1, 0), "high", None),
        (Measurement(BFLOAT16, 900, 0.99995, 1, 1, 0), "exact", "does not allow bfloat16"),
        (Measurement(BFLOAT16, 900, 0.9998, 1, 1, 0), "high", "min cosine 0.999800 is below 0.9999"),
        (Measurement(BFLOAT16, 900, 0.99995, 1, 0.5, 0), "high", "rank agreement 0.500 is below"),
        (Measurement(BFLOAT16, 900, 0.99995, 1, 1, 0.01), "high", "move by 1.0e-02 with their batch"),
        (Measurement(INT8, 900, 0.9718, 0.99, 0.9, 0.04), "fast", "min cosine 0.971800 is below 0.99"),
        (Measurement(BFLOAT16, 900, float("nan"), 1, 1, 0), "high", "min cosine nan"),
        (Measurement(INT8, failure="it does not work here"), "fast", "it does not work here"),
    ],
)
def test_what_falls_short_is_refused_with_the_figure(
    measurement: Measurement, accuracy: Accuracy, says: str | None
) -> None:
    """Each requirement refuses by itself, and says what was measured and what was required."""
    found = shortfall(measurement, accuracy)
    assert found is None if says is None else says in str(found)


def test_the_fastest_within_the_class_is_chosen_and_the_reason_names_all() -> None:
    """A refused variant never wins by its speed; the sentence holds the winner, the others, the refusal."""
    measured = [
        perfect(REFERENCE, 200),
        perfect(OPENVINO, 400),
        Measurement(INT8, 5000, 0.97, 0.98, 0.9, 0.04),
    ]
    choice = choose(measured, "fast", "cpu")
    assert choice.variant == OPENVINO
    assert "openvino float32 at 400 texts/s" in choice.reason
    assert "torch float32 200/s" in choice.reason
    assert "onnx int8 refused: min cosine 0.970000" in choice.reason
    assert [row["refused"] is None for row in choice.measured] == [True, True, False]


def test_nothing_within_the_class_is_an_error_that_says_what_each_lacked() -> None:
    """If only unusable variants were measured, the refusals are the text."""
    with pytest.raises(NothingFits, match=r"min cosine 0\.970000 is below"):
        choose([Measurement(INT8, 5000, 0.97, 0.98, 0.9, 0.04)], "fast", "cpu")
    with pytest.raises(NothingFits, match="nothing to measure"):
        choose([], "high", "cpu")


measurements = st.builds(
    Measurement,
    st.sampled_from(CPU_VARIANTS),
    texts_per_s=st.floats(1, 1e5),
    min_cosine=st.floats(0.9, 1),
    rank_agreement=st.floats(0.5, 1),
    batch_delta=st.floats(0, 0.1),
)


@given(
    st.lists(measurements, min_size=1, unique_by=lambda each: each.variant), st.sampled_from([*REQUIREMENTS])
)
def test_the_winner_is_admitted_and_nothing_admitted_is_faster(
    measured: list[Measurement], accuracy: Accuracy
) -> None:
    """Whatever was measured, the choice is the fastest of those that the class admits, if there are any."""
    admitted = [each for each in measured if shortfall(each, accuracy) is None]
    if not admitted:
        with pytest.raises(NothingFits):
            choose(measured, accuracy, "cpu")
        return
    winner = choose(measured, accuracy, "cpu").variant
    (found,) = [each for each in admitted if each.variant == winner]
    assert found.texts_per_s == max(each.texts_per_s for each in admitted)


def test_a_choice_survives_being_written_down() -> None:
    """What is remembered is what was chosen; something that is no variant is refused."""
    choice = choose([perfect(OPENVINO, 400)], "exact", "cpu")
    assert Choice.from_json(choice.to_json()) == choice
    with pytest.raises(ValueError, match="unknown variant"):
        Choice.from_json({**choice.to_json(), "dtype": "float8"})
