from __future__ import annotations

import cv2
import pytest
from http_site import LOGIN, http_site

from humar_edge.demos.web import playback
from humar_edge.errors import SourceError
from humar_edge.runtime.sources import LiveSource


@pytest.fixture
def picture(tmp_path, colour_scene):
    path = tmp_path / "a.png"
    cv2.imwrite(str(path), colour_scene((40, 60), {"red": (5, 5, 20, 30)}))
    return path


def test_one_picture_comes_again_only_when_asked_for(picture):
    with playback.open_playback(str(picture)) as source:
        frames = iter(source)
        assert source.still and next(frames).index == 0
        source.refresh()
        assert next(frames).index == 1
        source.close()
        assert list(frames) == []


def test_several_pictures_take_turns(picture, colour_scene, monkeypatch):
    monkeypatch.setattr(playback, "SLIDE_S", 0.01)
    cv2.imwrite(str(picture.with_name("b.png")), colour_scene((30, 30), {}))
    with playback.open_playback(str(picture.parent)) as source:
        frames = iter(source)
        assert [next(frames).size for _ in range(5)] == [(60, 40), (30, 30)] * 2 + [(60, 40)]


def test_a_video_repeats_and_is_live(clip):
    with playback.open_playback(str(clip)) as source:
        assert isinstance(source, LiveSource)
        for frame in source:
            if frame.index > 25:  # the clip has 20 frames
                break


@pytest.mark.parametrize("spec", ["~/people.avi", "file://~/people.avi", "{folder}/peo*.avi"])
def test_a_video_is_found_as_elsewhere(clip, monkeypatch, spec):
    monkeypatch.setenv("HOME", str(clip.parent))
    with playback.open_playback(spec.format(folder=clip.parent)) as source:
        assert source.name == str(clip) and next(iter(source)).size == (160, 120)


def test_a_recording_behind_a_password_repeats(clip):
    with http_site(clip.parent) as host, playback.open_playback(f"http://{LOGIN}@{host}/{clip.name}") as source:
        assert source.live and source.name == f"http://{host}/{clip.name}"
        for frame in source:
            if frame.index > 20:  # the clip has 20 frames
                break


@pytest.mark.parametrize(("spec", "message"), [("-", "raw pipe"), ("no/such.mp4", "no such file")])
def test_what_cannot_be_shown_is_told(spec, message):
    with pytest.raises(SourceError, match=message):
        playback.open_playback(spec)
