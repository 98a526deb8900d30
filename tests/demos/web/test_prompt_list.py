from __future__ import annotations

import numpy as np
import pytest

from humar_edge.demos.web.prompt_list import CLICKED, MAX_PROMPTS, PromptList
from humar_edge.errors import PromptError
from humar_edge.prompts import PositionalPrompt, TextPrompt
from humar_edge.results import Person


def words(text: str) -> TextPrompt:
    return TextPrompt(text, np.zeros((1, 4, 8), np.float32), np.ones((1, 4), np.int64), np.zeros((1, 8), np.float32))


def texts(prompts: PromptList) -> list[str]:
    return [prompt.text for prompt in prompts.prompts]


def person(text: str, keypoints: np.ndarray, found: bool = True) -> Person:
    return Person(text, found, 0.9, np.array([10, 10, 50, 90], np.float32), keypoints, (100, 100))


def test_words_are_added_once_and_keep_their_number() -> None:
    prompts = PromptList()
    red, blue = prompts.add(words("red")), prompts.add(words("blue"))
    assert prompts.add(words("red")) == red != blue
    assert texts(prompts) == ["red", "blue"]
    assert prompts.number_of("blue") == blue and prompts.number_of("green") is None
    assert prompts.add(words("blue"), alone=True) == blue and texts(prompts) == ["blue"]
    assert prompts.add(words("green"), alone=True) not in (red, blue) and texts(prompts) == ["green"]


def test_there_is_a_limit_and_a_last_one() -> None:
    prompts = PromptList()
    numbers = [prompts.add(words(f"person {k}")) for k in range(MAX_PROMPTS)]
    for add in (lambda: prompts.add(words("one more")), lambda: prompts.add_click((1.0, 1.0))):
        with pytest.raises(PromptError, match="remove one first"):
            add()
    assert prompts.add(words("person 0")) == numbers[0]
    for number in numbers[1:]:
        prompts.remove(number)
    with pytest.raises(PromptError, match="the only prompt"):
        prompts.remove(numbers[0])
    with pytest.raises(KeyError):
        prompts.remove(numbers[1])
    assert texts(prompts) == ["person 0"]


def test_a_selection_ends_with_its_prompt() -> None:
    prompts = PromptList()
    red, blue = prompts.add(words("red")), prompts.add(words("blue"))
    prompts.select(blue)
    assert prompts.selected == blue and prompts.selected_text == "blue"
    with pytest.raises(KeyError):
        prompts.select(999)
    prompts.remove(blue)
    assert prompts.selected is None and prompts.selected_text is None
    prompts.select(red)
    prompts.select(None)
    assert prompts.selected is None


def test_a_click_takes_the_place_of_the_one_before_and_is_selected() -> None:
    prompts = PromptList()
    prompts.add(words("red"))
    first, second = prompts.add_click((30.0, 40.0)), prompts.add_click((60.0, 40.0))
    assert texts(prompts) == ["red", CLICKED] and first != second
    assert prompts.clicked and prompts.selected == second
    prompts.forget_clicks(lambda: pytest.fail("there are words"))
    assert texts(prompts) == ["red"] and not prompts.clicked and prompts.selected is None


def test_without_words_forgetting_the_click_leaves_the_fallback() -> None:
    prompts = PromptList()
    prompts.add_click((30.0, 40.0))
    prompts.forget_clicks(lambda: words("anybody"))
    assert texts(prompts) == ["anybody"]


def test_clicks_follow_their_person_and_words_stay() -> None:
    prompts = PromptList()
    prompts.add(words("red"))
    prompts.add_click((30.0, 40.0))
    joints = np.concatenate([np.linspace([20, 20], [40, 80], 17), np.ones((17, 1))], axis=1).astype(np.float32)
    text, before = prompts.prompts
    prompts.follow([person("red", joints), person(CLICKED, joints, found=False)])
    assert prompts.prompts[1] is before
    prompts.follow([person("red", joints), person(CLICKED, joints)])
    after = prompts.prompts[1]
    assert prompts.prompts[0] is text and isinstance(after, PositionalPrompt)
    points = {tuple(point) for point in np.round(after.points, 3).tolist()}
    assert len(points) > 3 and points <= {tuple(point) for point in np.round(joints[:, :2], 3).tolist()}


def test_state_tells_of_every_prompt_whether_it_was_found() -> None:
    prompts = PromptList()
    red, blue = prompts.add(words("red")), prompts.add(words("blue"))
    state = prompts.state([person("red", np.zeros((17, 3), np.float32)), person("gone", np.zeros((17, 3), np.float32))])
    assert [(item["id"], item["kind"], item["found"], item["score"]) for item in state] == [
        (red, "text", True, 0.9),
        (blue, "text", None, None),
    ]
