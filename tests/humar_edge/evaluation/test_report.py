"""Where documents cannot be written."""

from __future__ import annotations

from pathlib import Path

import pytest

from humar_edge.errors import SinkError
from humar_edge.evaluation.report import write_json


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SinkError, match="cannot write"):
        write_json(tmp_path / "file" / "result.json", {})
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
