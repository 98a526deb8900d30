"""Take the pictures of the web page in docs/images with a headless Chromium.

    python tools/shoot_page.py --output docs/images

Shows the demo clip with the embedded bundle; needs Debian's packages chromium and chromium-driver, and
`pip install selenium`.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By

COMMAND = "from humar_edge.cli.main import main; main()"
FLAGS = (
    "--headless=new --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --hide-scrollbars"
).split()
PROMPTS = ("the man in red", "the woman in blue")
LARGEST = 300_000
"""Bytes; pictures are reduced to fewer colours until they fit."""


class Shot(NamedTuple):
    """A picture to take: size in CSS pixels, pixels per CSS pixel, dark or light."""

    name: str
    width: int
    height: int
    scale: float
    dark: bool


SHOTS = (Shot("web-desktop", 1280, 860, 1, False), Shot("web-phone", 390, 844, 1.5, True))


def shoot(url: str, shot: Shot, wait_s: float) -> bytes:
    """One screenshot as PNG, after some seconds of watching."""
    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium") or ""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        for flag in (*FLAGS, f"--user-data-dir={profile}"):
            options.add_argument(flag)
        driver = webdriver.Chrome(options=options, service=Service(shutil.which("chromedriver")))
        try:
            size = {"width": shot.width, "height": shot.height, "deviceScaleFactor": shot.scale, "mobile": False}
            driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
            scheme = {"name": "prefers-color-scheme", "value": "dark" if shot.dark else "light"}
            driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme]})
            driver.get(url)
            end = time.monotonic() + wait_s + 30
            time.sleep(wait_s)
            # Both people in view: the walker passes behind others at times.
            while driver.find_elements(By.CSS_SELECTOR, ".person:not(.found)") and time.monotonic() < end:
                time.sleep(0.2)
            return driver.get_screenshot_as_png()
        finally:
            driver.quit()


def fit(png: bytes) -> bytes:
    """The picture in at most `LARGEST` bytes: steps between colours grow until it fits."""
    image = cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_COLOR)
    assert image is not None
    for step in (1, 2, 3, 4, 6, 8, 12, 16, 24):
        coarse = np.minimum((image.astype(int) + step // 2) // step * step, 255).astype(np.uint8)
        data = cv2.imencode(".png", coarse, [cv2.IMWRITE_PNG_COMPRESSION, 9])[1].tobytes()
        if len(data) <= LARGEST:
            break
    return data


def main() -> None:
    """Parse the arguments, run the server, write the pictures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, required=True, help="folder for the pictures")
    parser.add_argument("--model", help="bundle (default: the embedded one)")
    parser.add_argument("--backend", help="backend (default: the best available)")
    parser.add_argument("--text", action="append", help=f"prompt, repeatable (default: {', '.join(PROMPTS)})")
    parser.add_argument("--wait", type=float, default=8.0, help="seconds to watch before a picture (default 8)")
    arguments = parser.parse_args()
    options = ["--port", "0", "--threads", "1"]
    for text in arguments.text or PROMPTS:
        options += ["--text", text]
    for name in ("model", "backend"):
        if value := getattr(arguments, name):
            options += [f"--{name}", value]
    command = [sys.executable, "-u", "-c", COMMAND, "serve", *options]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert server.stdout is not None
    try:
        for line in server.stdout:
            if address := re.search(r"http://\S+", line):
                arguments.output.mkdir(parents=True, exist_ok=True)
                for shot in SHOTS:
                    data = fit(shoot(address[0], shot, arguments.wait))
                    (arguments.output / f"{shot.name}.png").write_bytes(data)
                    print(f"{shot.name}.png: {len(data) / 1000:.0f} kB")
                break
    finally:
        server.terminate()
        server.wait(timeout=30)


if __name__ == "__main__":
    main()
