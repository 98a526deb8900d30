"""Files that are whole or not there."""

from __future__ import annotations

import pytest

from humar_edge.errors import SinkError
from humar_edge.files import write, write_text


def test_a_file_replaces_what_was_there(tmp_path):
    path = tmp_path / "new" / "result.txt"
    write_text(path, "one ü")
    write_text(path, "two")
    assert path.read_text(encoding="utf-8") == "two" and [item.name for item in path.parent.iterdir()] == ["result.txt"]


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(SinkError, match=r"cannot write .*result\.txt: "):
        write_text(tmp_path / "file" / "result.txt", "text")
    assert [item.name for item in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize("error", [ValueError("unknown format"), KeyboardInterrupt()])
def test_what_breaks_off_leaves_the_old_file_and_no_other(tmp_path, error):
    path = tmp_path / "plot.png"
    path.write_text("old")

    def save(temporary):
        temporary.write_text("half")
        raise error

    with pytest.raises((SinkError, KeyboardInterrupt)):
        write(path, save)
    assert path.read_text() == "old" and [item.name for item in tmp_path.iterdir()] == ["plot.png"]
