"""The command that composes scenes: what it refuses. Its parts have tests of their own."""

from __future__ import annotations

import pytest
from click.testing import CliRunner


@pytest.fixture(scope="module")
def module(tool):
    return tool("compose_people")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ([], "holds no compose.py"),
        (["--zoom", "3"], "--zoom"),
        (["--cover", "-1"], "--cover"),
        (["--views", "0", "0", "0", "0", "0"], "one of the five weights"),
    ],
)
def test_bad_input_is_one_line_and_writes_nothing(module, tmp_path, options, said):
    (tmp_path / "pack").mkdir()
    out = tmp_path / "out"
    result = CliRunner().invoke(module.main, [str(tmp_path / "pack"), "--out", str(out), *options])
    assert result.exit_code == 2 and said in result.output and "Traceback" not in result.output
    assert not out.exists()
