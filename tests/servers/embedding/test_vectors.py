"""Numbers after the model: unit length, shorter, quantised, as bytes."""

import base64

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from servers.embedding.engine import Vectors
from servers.embedding.vectors import Dtype, normalise, quantise, shorten, to_base64

matrices = arrays(
    np.float32, st.tuples(st.integers(1, 4), st.just(16)), elements=st.floats(-100, 100, width=32)
)


@given(matrices)
def test_normalised_rows_have_unit_length_unless_they_are_zero(vectors: Vectors) -> None:
    """Every row is scaled to length 1 in float32; zero stays zero and never becomes NaN."""
    unit = normalise(vectors)
    assert unit.dtype == np.float32
    lengths = np.linalg.norm(unit, axis=1)
    clear = np.linalg.norm(vectors, axis=1) > 1e-6
    np.testing.assert_allclose(lengths[clear], 1.0, atol=1e-5)
    assert np.isfinite(unit).all()


def test_shortened_vectors_are_scaled_back_only_if_asked() -> None:
    """Matryoshka vectors are cut, and unit length again unless raw ones are wanted."""
    vectors = np.array([[3.0, 4.0, 12.0]], dtype=np.float32)
    np.testing.assert_allclose(shorten(vectors, 2, renormalise=True), [[0.6, 0.8]])
    np.testing.assert_array_equal(shorten(vectors, 2, renormalise=False), [[3.0, 4.0]])
    assert shorten(vectors, 3, renormalise=True) is vectors


@given(matrices)
def test_int8_with_its_scale_is_within_half_a_step(vectors: Vectors) -> None:
    """numbers · scale lies within half a step of the vector, and the range is used fully."""
    numbers, scale = quantise(vectors, "int8")
    assert scale is not None
    assert numbers.dtype == np.int8
    error = np.abs(numbers * scale[:, None] - vectors)
    assert (error <= scale[:, None] * 0.5001 + 1e-6).all()


def test_ubinary_packs_signs_highest_bit_first() -> None:
    """Nine numbers become two bytes: signs from the highest bit on, zeros behind."""
    vectors = np.array([[1, -1, 1, 1, 0, -1, -1, 1, 1]], dtype=np.float32)
    numbers, scale = quantise(vectors, "ubinary")
    assert scale is None
    assert numbers.tolist() == [[0b10110001, 0b10000000]]


@pytest.mark.parametrize(
    ("dtype", "numpy_dtype"), [("float32", "<f4"), ("float16", "<f2"), ("int8", "i1"), ("ubinary", "u1")]
)
def test_base64_is_little_endian_and_round_trips(dtype: Dtype, numpy_dtype: str) -> None:
    """Decoding the bytes with the documented type gives the very numbers back."""
    vectors = np.linspace(-1, 1, 32, dtype=np.float32).reshape(2, 16)
    numbers, _ = quantise(vectors, dtype)
    read = np.frombuffer(base64.b64decode(to_base64(numbers, dtype)), dtype=numpy_dtype)
    np.testing.assert_array_equal(read, numbers.ravel())
