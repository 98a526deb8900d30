"""The page in a real headless Chromium: prompts, clicks, keys, downloads, sizes."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator

import cv2
import numpy as np
import pytest

webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
from selenium.webdriver.chrome.service import Service  # noqa: E402
from selenium.webdriver.common.action_chains import ActionChains  # noqa: E402
from selenium.webdriver.common.by import By  # noqa: E402
from selenium.webdriver.common.keys import Keys  # noqa: E402

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
DRIVER = shutil.which("chromedriver")
if not BROWSER or not DRIVER:
    pytest.skip("Chromium is missing: apt-get install chromium chromium-driver", allow_module_level=True)

FLAGS = (
    "--headless=new --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --disable-dev-shm-usage --window-size=1280,800"
).split()
EVIL = "<img src=x onerror=\"document.title='broken'\"><b>man in red</b>"


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[webdriver.Chrome]:
    options = webdriver.ChromeOptions()
    options.binary_location = BROWSER
    for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('chromium')}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(DRIVER))
    yield driver
    driver.quit()


@pytest.fixture
def page(browser, server):
    """The page, with the man in red found."""
    server.json("POST", "/api/prompts", {"text": "the man in red", "alone": True})
    server.json("POST", "/api/select", {"prompt": None})
    resize(browser, 1280, 800)
    browser.get(server.url)
    until(browser, lambda: "95%" in text(browser, "people"))
    yield browser
    problems = [entry for entry in browser.get_log("browser") if "/api/" not in entry["message"]]
    assert problems == []


def resize(browser, width: int, height: int, *, phone: bool = False) -> None:
    metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": phone}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)


def text(browser, identity: str) -> str:
    return browser.find_element(By.ID, identity).text


def until(browser, condition: Callable[[], object], seconds: float = 15.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, browser.find_element(By.TAG_NAME, "body").text
        time.sleep(0.1)


def screenshot(browser) -> np.ndarray:
    return cv2.imdecode(np.frombuffer(browser.get_screenshot_as_png(), np.uint8), cv2.IMREAD_COLOR)


def shown_picture(browser) -> np.ndarray:
    """The part of a screenshot where the picture is."""
    box = browser.find_element(By.ID, "stage").rect
    left, top = int(box["x"]), int(box["y"])
    return screenshot(browser)[top : top + int(box["height"]), left : left + int(box["width"])]


def test_the_picture_is_live_and_drawn_on(page):
    until(page, lambda: page.execute_script("return document.getElementById('picture').naturalWidth") == 160)
    picture = shown_picture(page)
    assert (np.abs(picture.astype(int) - (0, 255, 0)).max(axis=2) < 40).mean() > 0.05  # the green person
    assert text(page, "health-text") == "Live" and "tiny" in text(page, "model")
    assert float(text(page, "fps")) > 1


def test_a_prompt_is_typed_and_another_one_added(page):
    page.find_element(By.ID, "text").send_keys("the woman in green" + Keys.ENTER)
    until(page, lambda: "the woman in green\n95%" in text(page, "people"))
    assert "the man in red" not in text(page, "people")
    field = page.find_element(By.ID, "text")
    field.clear()
    field.send_keys("man in blue")
    page.find_element(By.ID, "also").click()
    until(page, lambda: "man in blue\nnot seen, 5%" in text(page, "people"))
    page.find_element(By.CSS_SELECTOR, "[aria-label='Stop looking for man in blue']").click()
    until(page, lambda: "man in blue" not in text(page, "people"))


def test_a_click_selects_and_escape_shows_everybody(page):
    stage = page.find_element(By.ID, "stage")
    # From the middle of the picture (80, 60) to the green person at (115, 60).
    scale = min(stage.rect["width"] / 160, stage.rect["height"] / 120)
    ActionChains(page).move_to_element_with_offset(stage, int(35 * scale), 0).click().perform()
    until(page, lambda: "clicked person\n95%" in text(page, "people"))
    pressed = page.find_elements(By.CSS_SELECTOR, "#people [aria-pressed=true]")
    assert [element.text.split("\n")[0] for element in pressed] == ["clicked person"]
    assert page.find_element(By.ID, "everybody").is_displayed()
    page.find_element(By.TAG_NAME, "body").send_keys(Keys.ESCAPE)
    until(page, lambda: not page.find_element(By.ID, "everybody").is_displayed())


def test_the_keyboard_alone_selects(page):
    stage = page.find_element(By.ID, "stage")
    page.execute_script("arguments[0].focus()", stage)
    ActionChains(page).key_down(Keys.SHIFT).send_keys(Keys.ARROW_LEFT, Keys.ARROW_LEFT).key_up(Keys.SHIFT).perform()
    assert page.find_element(By.ID, "cross").is_displayed()
    ActionChains(page).send_keys(Keys.ENTER).perform()
    until(page, lambda: "clicked person\n95%" in text(page, "people"))


def test_html_in_prompts_and_file_names_stays_text(page, server, clip):
    field = page.find_element(By.ID, "text")
    field.send_keys(EVIL + Keys.ENTER)
    until(page, lambda: EVIL in text(page, "people"))
    made = server.json("POST", "/api/uploads?name=%3Cimg%20src=x%20onerror=alert(1)%3E.avi", clip.read_bytes())
    until(page, lambda: "<img src=x onerror=alert(1)>.avi" in text(page, "sources"))
    assert page.title == "HuMAR Edge"
    assert page.find_elements(By.CSS_SELECTOR, "#people img, #people b, #sources img, #notice img") == []
    server.json("POST", "/api/source", {"id": "start"})
    server.json("DELETE", f"/api/uploads/{made['id']}")


def test_a_clip_is_uploaded_and_removed(page, clip):
    page.find_element(By.ID, "upload").send_keys(str(clip))
    until(page, lambda: text(page, "sources").count("people.avi") == 2)
    chosen = page.find_elements(By.CSS_SELECTOR, "#sources [aria-pressed=true]")
    assert len(chosen) == 1
    page.find_element(By.CSS_SELECTOR, "[aria-label='Delete people.avi']").click()
    until(page, lambda: text(page, "sources").count("people.avi") == 1)


def test_a_file_that_is_no_clip_is_refused_in_words(page, tmp_path):
    (tmp_path / "notes.mp4").write_text("no clip")
    page.find_element(By.ID, "upload").send_keys(str(tmp_path / "notes.mp4"))
    until(page, lambda: "not a picture or video" in text(page, "notice"))


@pytest.mark.parametrize(("width", "height", "phone"), [(1280, 800, False), (390, 844, True), (844, 390, True)])
def test_it_fits_the_screen(page, width, height, phone):
    resize(page, width, height, phone=phone)
    page.refresh()
    until(page, lambda: "95%" in text(page, "people"))
    wide, view = page.execute_script("return [document.documentElement.scrollWidth, innerWidth]")
    assert wide <= view == width
    stage = page.find_element(By.ID, "stage").rect
    assert stage["y"] + stage["height"] <= height
    assert screenshot(page).shape[:2] == (height, width)
    small = page.execute_script(
        "return [...document.querySelectorAll('button, .button')].filter(e => e.offsetParent && "
        "e.getBoundingClientRect().height < 36).length"
    )
    assert small == 0


def test_dark_and_light(page):
    def background() -> str:
        return page.execute_script("return getComputedStyle(document.body).backgroundColor")

    first = background()
    page.find_element(By.ID, "theme").click()
    assert background() != first
    page.refresh()
    assert background() != first
    page.find_element(By.ID, "theme").click()


def test_the_token_is_asked_for(browser, run_server, clip):
    arguments = ("--source", str(clip), "--text", "man in red", "--token", "open-sesame")
    with run_server(*arguments) as server:
        browser.get(server.url)
        browser.find_element(By.ID, "token").send_keys("wrong" + Keys.ENTER)
        until(browser, lambda: browser.current_url.endswith("/login?wrong"))
        until(browser, lambda: "That is not the token" in browser.find_element(By.TAG_NAME, "body").text)
        browser.find_element(By.ID, "token").send_keys("open-sesame" + Keys.ENTER)
        until(browser, lambda: browser.find_elements(By.ID, "health-text") and text(browser, "health-text") == "Live")
        assert browser.current_url == f"{server.url}/"
