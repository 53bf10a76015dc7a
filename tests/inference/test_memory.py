"""How running out of memory looks."""

import pytest

from microtome.inference.memory import out_of_memory


@pytest.mark.parametrize(
    "error, expected",
    [
        (MemoryError(), True),
        (RuntimeError("std::bad_alloc"), True),  # from the C++ operators
        (RuntimeError("CUDA error: out of memory"), True),
        (RuntimeError("shapes do not fit"), False),
        (ValueError("std::bad_alloc"), False),
    ],
)
def test_memory_is_told_from_other_errors(error, expected):
    assert out_of_memory(error) is expected
