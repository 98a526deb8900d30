"""`humar-edge serve`: a live picture with a prompt field in the browser."""

from __future__ import annotations

import re
from pathlib import Path

import click

from humar_edge.errors import ConfigError, MissingExtraError

DEMO_TEXT = "the man in red"

# Read by OpenCV when it is first imported: an upload of a few kilobytes may unpack to gigabytes.
_PIXELS = ("OPENCV_IO_MAX_IMAGE_PIXELS", str(8192 * 8192))


@click.command("serve")
@click.option("--source", help="Video, picture, folder, rtsp:// or http(s):// address, csi://N. [default: a demo clip]")
@click.option("--camera", type=click.IntRange(min=0), help="Number of a camera.")
@click.option("--text", multiple=True, help="Words that describe one person; repeat for several people.")
@click.option("--model", type=click.Path(path_type=Path), help="Bundle. [default: the embedded one]")
@click.option("--backend", help="tensorrt, openvino or onnxruntime. [default: the best available]")
@click.option("--threads", type=click.IntRange(min=1), help="CPU threads of the backend.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on; 0.0.0.0 for all.")
@click.option("--port", type=click.IntRange(0, 65535), default=8000, show_default=True, help="Port; 0 for a free one.")
@click.option("--token", help="What visitors must know. [default: none on this machine, else a new one]")
@click.option("--max-upload-mb", type=click.IntRange(min=1), default=200, show_default=True, help="Largest upload.")
@click.option("--uploads", type=click.Path(path_type=Path), help="Where uploads are kept. [default: until the end]")
def command(
    source: str | None,
    camera: int | None,
    text: tuple[str, ...],
    model: Path | None,
    backend: str | None,
    threads: int | None,
    host: str,
    port: int,
    token: str | None,
    max_upload_mb: int,
    uploads: Path | None,
) -> None:
    """Live view with a prompt field in the browser.

    \b
    humar-edge serve
    humar-edge serve --camera 0 --text "woman with a bag"
    humar-edge serve --host 0.0.0.0 --source rtsp://camera.local/stream
    """
    if source is not None and camera is not None:
        raise ConfigError("serve takes one source: --camera NUMBER, or --source FILE, FOLDER or ADDRESS")

    import os

    os.environ.setdefault(*_PIXELS)

    import asyncio
    import tempfile
    from contextlib import ExitStack

    try:
        import aiohttp  # noqa: F401
    except ImportError as error:
        raise MissingExtraError("aiohttp", "serve") from error

    from rich.console import Console

    from humar_edge.bundle import Bundle, default_bundle_path
    from humar_edge.cli.run_session import warnings_to
    from humar_edge.demos.web.app import Page, build_app, serve
    from humar_edge.demos.web.auth import Guard, choose_token
    from humar_edge.demos.web.session import Choice, Session
    from humar_edge.demos.web.stream import Hub
    from humar_edge.demos.web.uploads import Uploads
    from humar_edge.runtime.predictor import Predictor

    secret = choose_token(host, token)
    demo = Choice("demo", "Demo clip", str(Path(__file__).parents[1] / "assets" / "demo.mp4"), "demo")
    spec = source if camera is None else str(camera)
    choices = [demo] if spec is None else [Choice("start", _label(spec, camera), spec, "start"), demo]
    texts = text or ((DEMO_TEXT,) if spec is None else ())
    messages = Console(stderr=True, highlight=False)
    bundle = Bundle.load(default_bundle_path() if model is None else model)
    with ExitStack() as stack:
        stack.enter_context(warnings_to(messages))
        temporary = stack.enter_context(tempfile.TemporaryDirectory(prefix="humar-edge-"))
        store = Uploads(uploads or Path(temporary), max_upload_mb * 1_000_000)
        choices += [Choice(item.path.stem, item.label, str(item.path), "upload") for item in store.existing()]
        predictor = stack.enter_context(Predictor(bundle, backend, threads))
        hub = Hub()
        session = Session(predictor, choices, texts, hub)
        stack.callback(session.close)

        def ready(port: int) -> None:
            session.start()
            click.echo(f"{bundle.manifest.name} on {predictor.backend} ({predictor.device})")
            for line in _addresses(host, port, secret):
                click.echo(line)

        app = build_app(Page(session, hub, store, predictor), Guard(host, secret), hub)
        try:
            asyncio.run(serve(app, hub, host, port, ready))
        except KeyboardInterrupt:
            pass
    click.echo("stopped")


def _label(spec: str, camera: int | None) -> str:
    """What the page calls the start source: no folders of this machine, no passwords."""
    from humar_edge.runtime.sources.devices import without_password

    if camera is not None:
        return f"Camera {camera}"
    if "://" in spec and not spec.startswith("file:"):
        return re.split("[?#]", without_password(spec))[0]
    return Path(spec).name or spec


def _addresses(host: str, port: int, token: str | None) -> list[str]:
    """What to open in a browser, one line each."""
    query = f"/?token={token}" if token else "/"
    shown = {"0.0.0.0": "localhost", "::": "localhost"}.get(host, f"[{host}]" if ":" in host else host)
    lines = [f"open http://{shown}:{port}{query}    (Ctrl-C stops)"]
    if shown == "localhost" and host != "localhost":
        import socket

        lines.append(f"from other machines: http://{socket.gethostname()}:{port}{query}")
    return lines
