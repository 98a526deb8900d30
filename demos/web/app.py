"""The HTTP side: every address of the page and what it does."""

from __future__ import annotations

import asyncio
import json
import logging
import math
import signal
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeGuard

from aiohttp import http_exceptions, web

from humar_edge import __version__
from humar_edge.demos.web.auth import Guard, Handler, add_headers
from humar_edge.demos.web.session import Choice, Session
from humar_edge.demos.web.stream import Hub, Shown, send_stream
from humar_edge.demos.web.uploads import UploadError, Uploads
from humar_edge.errors import ConfigError, HumarError
from humar_edge.runtime.predictor import Predictor

STATIC: dict[str, str] = {
    "/": "index.html",
    "/login": "login.html",
    "/app.js": "app.js",
    "/graph.js": "graph.js",
    "/login.js": "login.js",
    "/style.css": "style.css",
    "/icon.svg": "icon.svg",
}
"""Address -> file beside this module. Nothing else on the disk has an address."""

SNAPSHOTS: dict[str, str] = {"jpg": "image/jpeg", "png": "image/png"}

MAX_JSON = 64 * 1024
_WORKERS = 6
_END_S = 2.0


class Page:
    """The handlers.

    Args:
        session: What is being shown.
        hub: Its pictures.
        uploads: Where clips of visitors go.
        predictor: For what the page tells about the model.
    """

    def __init__(self, session: Session, hub: Hub, uploads: Uploads, predictor: Predictor) -> None:
        self._session, self._hub, self._uploads = session, hub, uploads
        manifest = predictor.bundle.manifest
        height, width = manifest.input_size
        self._about = {
            "version": __version__,
            "name": manifest.name,
            "backend": predictor.backend,
            "device": predictor.device,
            "input": f"{width} x {height}",
            "warning": predictor.bundle.warning,
            "positional": session.positional,
            "max_upload_bytes": uploads.max_bytes,
        }

    def routes(self) -> list[web.AbstractRouteDef]:
        """The table of addresses."""
        files = [web.get(address, _static(name)) for address, name in STATIC.items()]
        return [
            *files,
            web.get("/stream.mjpg", self.stream, allow_head=False),
            web.get("/api/state", self.state),
            web.get("/api/result.json", self.result),
            web.get(r"/api/snapshot.{kind:(jpg|png)}", self.snapshot),
            web.post("/api/prompts", self.add_prompt),
            web.delete(r"/api/prompts/{number:\d{1,9}}", self.remove_prompt),
            web.post("/api/select", self.select),
            web.post("/api/source", self.show),
            web.post("/api/uploads", self.upload),
            web.delete(r"/api/uploads/{identity:[0-9a-f]{16}}", self.remove_upload),
        ]

    async def stream(self, request: web.Request) -> web.StreamResponse:
        """The annotated pictures, newest first of all."""
        return await send_stream(request, self._hub)

    async def state(self, request: web.Request) -> web.Response:
        """What the page shows; `?since=N` leaves out latency samples up to N."""
        try:
            since = int(request.query.get("since", "0"))
        except ValueError as error:
            raise web.HTTPBadRequest(text="since must be a number") from error
        return web.json_response({"model": self._about, **self._session.state(since)})

    async def result(self, request: web.Request) -> web.Response:
        """The newest result as a file; `?masks=1` adds COCO run lengths."""
        records = await asyncio.to_thread(self._session.records, masks=request.query.get("masks") == "1")
        text = json.dumps(records, ensure_ascii=False, indent=2) + "\n"
        return web.Response(text=text, content_type="application/json", headers=_download("humar-edge-result.json"))

    async def snapshot(self, request: web.Request) -> web.Response:
        """The newest annotated picture as a file."""
        shown: Shown | None = self._hub.latest
        if shown is None:
            raise web.HTTPServiceUnavailable(text="there is no picture yet")
        kind = request.match_info["kind"]
        data = await asyncio.to_thread(shown.full, f".{kind}")
        name = f"humar-edge-{shown.frame.index:06d}.{kind}"
        return web.Response(body=data, content_type=SNAPSHOTS[kind], headers=_download(name))

    async def add_prompt(self, request: web.Request) -> web.Response:
        """`{"text": "...", "alone": true}`: look for somebody, alone or besides the others."""
        body = await _json(request)
        text, alone = body.get("text"), body.get("alone", False)
        if not isinstance(text, str) or not isinstance(alone, bool):
            raise web.HTTPBadRequest(text='expected {"text": "...", "alone": true or false}')
        number = await asyncio.to_thread(self._session.add_text, text, alone=alone)
        return web.json_response({"id": number}, status=201)

    async def remove_prompt(self, request: web.Request) -> web.Response:
        """Stop looking for somebody."""
        self._session.remove_prompt(int(request.match_info["number"]))
        return web.json_response({})

    async def select(self, request: web.Request) -> web.Response:
        """`{"x": 0.4, "y": 0.5}` a place, `{"prompt": 3}` a prompt, `{"prompt": null}` everybody."""
        body = await _json(request)
        if body.keys() == {"prompt"} and (body["prompt"] is None or type(body["prompt"]) is int):
            self._session.select_prompt(body["prompt"])
            return web.json_response({"id": body["prompt"]})
        x, y = body.get("x"), body.get("y")
        if not (_is_share(x) and _is_share(y)):
            raise web.HTTPBadRequest(text='expected {"x": 0 to 1, "y": 0 to 1} or {"prompt": number or null}')
        return web.json_response({"id": await asyncio.to_thread(self._session.select_point, x, y)})

    async def show(self, request: web.Request) -> web.Response:
        """`{"id": "..."}`: switch to a source of the list."""
        identity = (await _json(request)).get("id")
        if not isinstance(identity, str):
            raise web.HTTPBadRequest(text='expected {"id": "..."}')
        await asyncio.to_thread(self._session.show, identity)
        return web.json_response({})

    async def upload(self, request: web.Request) -> web.Response:
        """Take a clip: the file is the body, `?name=` is what to call it."""
        name = request.query.get("name", "")
        try:
            upload = await self._uploads.receive(request.content, request.content_length, name)
        except UploadError as error:
            answer = _problem(error.status, str(error))
            # The rest of a body that nobody wants is not waited for.
            answer.force_close()
            return answer
        choice = Choice(upload.path.stem, upload.label, str(upload.path), "upload")
        self._session.add_choice(choice)
        await asyncio.to_thread(self._session.show, choice.id)
        return web.json_response({"id": choice.id, "label": choice.label}, status=201)

    async def remove_upload(self, request: web.Request) -> web.Response:
        """Delete a clip."""
        choice = await asyncio.to_thread(self._session.remove_choice, request.match_info["identity"])
        await asyncio.to_thread(self._uploads.remove, Path(choice.spec))
        return web.json_response({})


def build_app(page: Page, guard: Guard, hub: Hub) -> web.Application:
    """The application, ready to be served."""
    app = web.Application(middlewares=[_answer_errors, guard.middleware()], client_max_size=MAX_JSON)
    app.add_routes(page.routes())
    app.on_response_prepare.append(add_headers)

    async def send_viewers_away(_: web.Application) -> None:
        hub.close()

    app.on_shutdown.append(send_viewers_away)
    return app


async def serve(app: web.Application, hub: Hub, host: str, port: int, ready: Callable[[int], None]) -> None:
    """Serve until Ctrl-C or SIGTERM.

    Args:
        app: From `build_app`.
        hub: Gets to know the event loop.
        host: Name or address to listen on.
        port: Port; 0 takes any free one.
        ready: Called with the port once visitors can come.

    Raises:
        ConfigError: The address cannot be used.
    """
    loop, stop = asyncio.get_running_loop(), asyncio.Event()
    workers = ThreadPoolExecutor(_WORKERS, thread_name_prefix="humar-web")
    loop.set_default_executor(workers)
    for number in (signal.SIGINT, signal.SIGTERM):
        try:
            loop.add_signal_handler(number, stop.set)
        except (NotImplementedError, RuntimeError, ValueError):
            pass  # Windows, or not the main thread: KeyboardInterrupt ends the loop instead.
    hub.attach(loop)
    logging.getLogger("aiohttp.server").addFilter(_is_our_fault)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=_END_S)
    await runner.setup()
    try:
        try:
            await web.TCPSite(runner, host, port).start()
        except (OSError, OverflowError) as error:
            reason = getattr(error, "strerror", None) or error
            raise ConfigError(f"cannot serve on {host}:{port}: {reason}; give another --host or --port") from error
        ready(runner.addresses[0][1])
        await stop.wait()
    finally:
        await runner.cleanup()


def _is_our_fault(record: logging.LogRecord) -> bool:
    """Whether an error belongs on the terminal: not those of clients, who could fill it with whatever they send."""
    error = record.exc_info[1] if record.exc_info else None
    return not isinstance(error, (http_exceptions.HttpProcessingError, ConnectionError))


@web.middleware
async def _answer_errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Errors become one line of JSON."""
    try:
        return await handler(request)
    except web.HTTPException as error:
        if error.status < 400:
            raise
        return _problem(error.status, error.text or error.reason)
    except HumarError as error:
        return _problem(422, str(error))
    except KeyError:
        return _problem(404, "there is no such thing any more")


def _problem(status: int, message: str) -> web.Response:
    return web.json_response({"error": message}, status=status)


async def _json(request: web.Request) -> dict[str, Any]:
    # Browsers let any web site send forms and plain text, but not this type.
    if request.content_type != "application/json":
        raise web.HTTPUnsupportedMediaType(text="send application/json")
    try:
        body = await request.json()
    except (ValueError, RecursionError) as error:
        raise web.HTTPBadRequest(text="the body is not JSON") from error
    if not isinstance(body, dict):
        raise web.HTTPBadRequest(text="the body is not a JSON object")
    return body


def _is_share(value: object) -> TypeGuard[float]:
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return number and math.isfinite(value) and 0 <= value <= 1  # type: ignore[arg-type, operator]


def _download(name: str) -> dict[str, str]:
    return {"Content-Disposition": f'attachment; filename="{name}"'}


def _static(name: str) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    path = Path(__file__).parent / name

    async def handler(_: web.Request) -> web.StreamResponse:
        return web.FileResponse(path)

    return handler
