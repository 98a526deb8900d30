"""The mode of the processor during training."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from humar_edge.training.build import quick_math  # noqa: E402


def _denormals_count() -> bool:
    return bool(torch.tensor(1e-40) * 1 != 0)


@pytest.mark.parametrize("before", [True, False])
def test_denormals_are_zero_inside_and_as_before_outside(before: bool) -> None:
    torch.set_flush_denormal(not before)
    try:
        with pytest.raises(RuntimeError, match="inside"), quick_math():
            assert not _denormals_count()
            raise RuntimeError("inside")
        assert _denormals_count() is before
    finally:
        torch.set_flush_denormal(False)
