"""Every address of a real server, over HTTP."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip("aiohttp")

PAGES = {"/": "text/html", "/login": "text/html", "/style.css": "text/css", "/app.js": "javascript", "/icon.svg": "svg"}


@pytest.fixture(autouse=True)
def one_prompt(request):
    """Tests that use the shared server begin with the man in red alone."""
    if "server" in request.fixturenames:
        server = request.getfixturevalue("server")
        server.json("POST", "/api/prompts", {"text": "the man in red", "alone": True})
        server.json("POST", "/api/select", {"prompt": None})


def prompts(state) -> list[str]:
    return [prompt["text"] for prompt in state["prompts"]]


def found(state, text) -> bool | None:
    return next((prompt["found"] for prompt in state["prompts"] if prompt["text"] == text), None)


def read_parts(stream, count: int) -> list[bytes]:
    """Pictures of a multipart stream."""
    pictures = []
    while len(pictures) < count:
        line = stream.readline()
        assert line, "the stream ended"
        if line.lower().startswith(b"content-length:"):
            size = int(line.split(b":")[1])
            assert stream.readline() == b"\r\n"
            pictures.append(stream.read(size))
    return pictures


def open_stream(server):
    connection = socket.create_connection(("127.0.0.1", server.port), timeout=20)
    connection.sendall(f"GET /stream.mjpg HTTP/1.0\r\nHost: localhost:{server.port}\r\n\r\n".encode())
    return connection


@pytest.mark.parametrize(("path", "kind"), PAGES.items())
def test_pages_come_with_their_type_and_security_headers(server, path, kind):
    status, headers, body = server.request("GET", path)
    assert status == 200 and kind in headers["content-type"] and body
    assert "default-src 'none'" in headers["content-security-policy"]
    assert "unsafe" not in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["x-frame-options"] == "DENY"


def test_pages_have_nothing_inline_and_nothing_from_elsewhere(server):
    for path in ("/", "/login", "/app.js", "/graph.js", "/style.css"):
        text = server.request("GET", path)[2].decode()
        assert "innerHTML" not in text and " onclick" not in text and "style=" not in text
        assert "http://" not in text and "https://" not in text


def test_the_state_tells_everything(server):
    state = server.wait_for(lambda state: found(state, "the man in red"))
    assert state["model"]["name"] == "tiny" and state["model"]["backend"] == "onnxruntime"
    assert state["model"]["positional"] is True
    assert [source["id"] for source in state["sources"]][:2] == ["start", "demo"]
    assert state["sources"][0]["label"] == "people.avi"
    assert state["frame"] == {"width": 160, "height": 120, "time_s": state["frame"]["time_s"]}
    last = state["samples"][-1]
    assert len(last) == 6 and all(value >= 0 for value in last)
    later = server.json("GET", f"/api/state?since={last[0]}")
    assert all(sample[0] > last[0] for sample in later["samples"])


def test_a_prompt_takes_effect_while_running(server):
    server.json("POST", "/api/prompts", {"text": "the man in green", "alone": True})
    state = server.wait_for(lambda state: found(state, "the man in green"))
    assert prompts(state) == ["the man in green"]


def test_several_prompts(server):
    number = server.json("POST", "/api/prompts", {"text": "woman in green"})["id"]
    server.json("POST", "/api/prompts", {"text": "woman in blue"})
    state = server.wait_for(lambda state: found(state, "woman in blue") is not None)
    assert prompts(state) == ["the man in red", "woman in green", "woman in blue"]
    assert (found(state, "woman in green"), found(state, "woman in blue")) == (True, False)
    assert server.json("POST", "/api/prompts", {"text": " woman  in green"})["id"] == number
    server.json("DELETE", f"/api/prompts/{number}")
    assert prompts(server.state()) == ["the man in red", "woman in blue"]


def test_there_is_a_limit_and_a_last_prompt(server):
    for index in range(5):
        server.json("POST", "/api/prompts", {"text": f"person {index}"})
    status, _, body = server.request("POST", "/api/prompts", {"text": "one too many"})
    assert status == 422 and b"at most 6" in body
    server.json("POST", "/api/prompts", {"text": "the man in red", "alone": True})
    (last,) = server.state()["prompts"]
    status, _, body = server.request("DELETE", f"/api/prompts/{last['id']}")
    assert status == 422 and b"only prompt" in body


def test_a_click_selects_the_person_under_it(server):
    number = server.json("POST", "/api/select", {"x": 115 / 160, "y": 60 / 120})["id"]
    state = server.wait_for(lambda state: found(state, "clicked person"))
    assert state["selected"] == number
    record = next(r for r in server.json("GET", "/api/result.json") if r["text"] == "clicked person")
    assert np.allclose(record["box_xyxy"], (90, 20, 140, 100), atol=3)
    again = server.json("POST", "/api/select", {"x": 40 / 160, "y": 50 / 120})["id"]
    state = server.wait_for(lambda state: state["selected"] == again and found(state, "clicked person"))
    assert prompts(state) == ["the man in red", "clicked person"]
    server.json("POST", "/api/select", {"prompt": None})
    assert server.state()["selected"] is None


def test_the_click_is_kept_when_the_words_change(server):
    server.json("POST", "/api/select", {"x": 115 / 160, "y": 60 / 120})
    server.wait_for(lambda state: found(state, "clicked person"))
    server.json("POST", "/api/prompts", {"text": "woman in blue"})
    state = server.wait_for(lambda state: found(state, "woman in blue") is not None)
    assert found(state, "clicked person")


def test_only_the_selected_person_is_drawn(server):
    server.json("POST", "/api/prompts", {"text": "woman in green"})
    server.wait_for(lambda state: found(state, "woman in green"))
    number = next(p["id"] for p in server.state()["prompts"] if p["text"] == "woman in green")
    plain = picture(server)
    server.json("POST", "/api/select", {"prompt": number})
    before = server.state()["samples"][-1][0]
    server.wait_for(lambda state: state["samples"][-1][0] > before + 2)
    changed = np.abs(picture(server).astype(int) - plain).max(axis=2) > 60
    assert changed[:, :80].any() and not changed[30:90, 95:135].any()


def picture(server, kind="png"):
    status, headers, body = server.request("GET", f"/api/snapshot.{kind}")
    assert status == 200 and headers["content-type"].startswith("image/")
    assert headers["content-disposition"].startswith("attachment;")
    return cv2.imdecode(np.frombuffer(body, np.uint8), cv2.IMREAD_COLOR)


@pytest.mark.parametrize("kind", ["jpg", "png"])
def test_snapshots_have_the_size_of_the_source(server, kind):
    assert picture(server, kind).shape == (120, 160, 3)


def test_the_result_is_valid_and_may_have_masks(server):
    jsonschema = pytest.importorskip("jsonschema")

    def ready(state):  # the newest frame may be older than the prompts of the test before
        return found(state, "the man in red") and len(server.json("GET", "/api/result.json")) == 1

    server.wait_for(ready)
    schema = json.loads((Path(__file__).parents[3] / "humar_edge/assets/person.schema.json").read_text("utf-8"))
    for query in ("", "?masks=1"):
        (record,) = server.json("GET", f"/api/result.json{query}")
        jsonschema.validate(record, schema)
        assert record["source"] == "people.avi" and ("mask" in record) == bool(query)


def test_the_stream_shows_new_pictures(server):
    with open_stream(server) as connection, connection.makefile("rb") as stream:
        pictures = read_parts(stream, 5)
    assert all(cv2.imdecode(np.frombuffer(data, np.uint8), 1).shape == (120, 160, 3) for data in pictures)


def test_a_client_that_never_reads_disturbs_nobody(server):
    with open_stream(server) as lazy, open_stream(server) as keen, keen.makefile("rb") as stream:
        assert len(read_parts(stream, 30)) == 30
        assert lazy.fileno() > 0
    server.wait_for(lambda state: state["viewers"] == 0)


def test_there_are_only_so_many_viewers(server):
    connections = [open_stream(server) for _ in range(8)]
    try:
        server.wait_for(lambda state: state["viewers"] == 8)
        status, _, body = server.request("GET", "/stream.mjpg")
        assert status == 503 and b"at most 8" in body
    finally:
        for connection in connections:
            connection.close()
    server.wait_for(lambda state: state["viewers"] == 0)


def test_an_upload_is_shown_and_can_be_removed(server, clip):
    made = server.json("POST", "/api/uploads?name=../../%3Cb%3Emine%3C%2Fb%3E.avi", clip.read_bytes())
    assert made["label"] == "b>.avi"
    state = server.wait_for(lambda state: state["source"] == made["id"] and found(state, "the man in red"))
    assert state["sources"][-1]["kind"] == "upload"
    server.json("POST", "/api/source", {"id": "start"})
    server.wait_for(lambda state: state["source"] == "start" and state["frames"] > 0)
    server.json("POST", "/api/source", {"id": made["id"]})
    server.json("DELETE", f"/api/uploads/{made['id']}")
    state = server.wait_for(lambda state: state["frames"] > 0)
    assert state["source"] == "start" and len(state["sources"]) == 2


def test_an_uploaded_picture_stays_and_follows_the_prompts(server, colour_scene):
    data = cv2.imencode(".png", colour_scene((50, 50), {"blue": (10, 10, 30, 40)}))[1].tobytes()
    made = server.json("POST", "/api/uploads?name=me.png", data)
    server.wait_for(lambda state: state.get("frame", {}).get("width") == 50)
    server.json("POST", "/api/prompts", {"text": "woman in blue", "alone": True})
    server.wait_for(lambda state: found(state, "woman in blue"))
    server.json("POST", "/api/select", {"x": 0.4, "y": 0.5})
    server.wait_for(lambda state: found(state, "clicked person"))
    server.json("POST", "/api/source", {"id": "start"})
    assert prompts(server.state()) == ["woman in blue"]
    server.json("DELETE", f"/api/uploads/{made['id']}")


def test_an_upload_that_is_too_large_is_refused_early_and_late(server):
    status, _, body = server.request("POST", "/api/uploads?name=a.mp4", b"", {"Content-Length": "2000000"})
    assert status == 413 and b"1 MB" in body
    chunks = (b"x" * 50_000 for _ in range(22))
    headers = {"Transfer-Encoding": "chunked"}
    assert server.request("POST", "/api/uploads?name=a.mp4", chunks, headers, chunked=True)[0] == 413
    assert len(server.state()["sources"]) == 2


def test_a_picture_that_unpacks_to_too_much_is_refused(server):
    data = cv2.imencode(".png", np.zeros((8200, 8200), np.uint8))[1].tobytes()
    assert len(data) < 200_000
    assert server.request("POST", "/api/uploads?name=a.png", data)[0] == 415


def test_a_broken_body_is_answered_and_not_written_to_the_terminal(server):
    head = f"POST /api/uploads HTTP/1.1\r\nHost: localhost:{server.port}\r\nTransfer-Encoding: chunked\r\n\r\n"
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as connection:
        # In one piece: when the head comes alone, the upload is waited for until it counts as too slow.
        connection.sendall(head.encode() + b"no chunk size " * 100)
        assert b" 400 " in connection.recv(1000).splitlines()[0]
    with socket.create_connection(("127.0.0.1", server.port)) as connection:
        connection.sendall(f"POST /api/uploads HTTP/1.1\r\nHost: localhost:{server.port}\r\n".encode())
        connection.sendall(b"Content-Length: 9999\r\n\r\n\x89PNG")
        time.sleep(0.2)
    server.state()
    assert server.lines[2:] == []


@pytest.mark.parametrize("data", [b"", b"#EXTM3U\n/etc/passwd", b"<html></html>", b"\x89PNG\r\n\x1a\nbroken"])
def test_uploads_that_are_no_media_are_refused(server, data):
    status, _, body = server.request("POST", "/api/uploads?name=a.mp4", data)
    assert status == 415 and json.loads(body)["error"]
    assert len(server.state()["sources"]) == 2


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("POST", "/api/prompts", b"{", 400),
        ("POST", "/api/prompts", b"[" * 50_000, 400),
        ("POST", "/api/prompts", b"\xff\xfe", 400),
        ("POST", "/api/prompts", b" " * 100_000, 413),
        ("POST", "/api/prompts", ["text"], 400),
        ("POST", "/api/prompts", {}, 400),
        ("POST", "/api/prompts", {"text": 7}, 400),
        ("POST", "/api/prompts", {"text": "man", "alone": "yes"}, 400),
        ("POST", "/api/prompts", {"text": " \n"}, 422),
        ("POST", "/api/prompts", {"text": "x" * 301}, 422),
        ("POST", "/api/prompts", {"text": "clicked person"}, 422),
        ("POST", "/api/select", {"x": 2, "y": 0}, 400),
        ("POST", "/api/select", {"x": True, "y": 0}, 400),
        ("POST", "/api/select", b'{"x": NaN, "y": 0}', 400),
        ("POST", "/api/select", {"prompt": "1"}, 400),
        ("POST", "/api/select", {"prompt": 999}, 404),
        ("POST", "/api/source", {"id": "nowhere"}, 404),
        ("POST", "/api/source", {"id": "/etc/passwd"}, 404),
        ("POST", "/api/source", {"id": 3}, 400),
        ("DELETE", "/api/prompts/999", None, 404),
        ("DELETE", "/api/prompts/x", None, 404),
        ("DELETE", "/api/uploads/0123456789abcdef", None, 404),
        ("DELETE", "/api/uploads/start", None, 404),
        ("GET", "/api/state?since=x", None, 400),
        ("GET", "/api/snapshot.gif", None, 404),
        ("GET", "/../../../etc/passwd", None, 404),
        ("GET", "/%2e%2e/%2e%2e/etc/passwd", None, 404),
        ("GET", "/app.py", None, 404),
        ("POST", "/api/state", {}, 405),
    ],
)
def test_bad_requests_are_answered_in_one_line(server, method, path, body, status):
    headers = {"Content-Type": "application/json"} if body is not None else {}
    answered, _, data = server.request(method, path, body, headers)
    assert answered == status, data
    message = json.loads(data)["error"]
    assert message and "\n" not in message and "Traceback" not in message


def test_forms_of_other_sites_are_refused(server):
    text = json.dumps({"text": "man in blue"}).encode()
    assert server.request("POST", "/api/prompts", text, {"Content-Type": "text/plain"})[0] == 415
    for headers in (
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://["},
        {"Sec-Fetch-Site": "cross-site"},
    ):
        status = server.request("POST", "/api/prompts", {"text": "man in blue"}, headers)[0]
        assert status == 403
    assert server.request("GET", "/stream.mjpg", None, {"Sec-Fetch-Site": "cross-site"})[0] == 403
    own = {"Origin": f"http://localhost:{server.port}", "Host": f"localhost:{server.port}"}
    assert server.request("POST", "/api/prompts", {"text": "man in blue"}, own)[0] == 201


@pytest.mark.parametrize(
    ("name", "status"),
    [("localhost", 200), ("127.0.0.1:80", 200), ("[::1]:9", 200), ("evil.example", 421), ("127.0.0.1.x", 421)],
)
def test_other_host_names_are_refused(server, name, status):
    assert server.request("GET", "/api/state", None, {"Host": name})[0] == status


def test_the_network_needs_the_token(run_server, clip):
    with run_server("--source", str(clip), "--text", "man in red", "--host", "0.0.0.0") as server:
        token = server.lines[1].split("token=")[1].split()[0]
        assert len(token) >= 20
        server.json("GET", "/api/state", headers={"Authorization": f"Bearer {token}"})
        for path in ("/api/state", "/stream.mjpg", "/api/snapshot.png", "/app.js", "/api/state?token=wrong"):
            assert server.request("GET", path)[0] == 401, path
        for headers in ({"Cookie": "humar_edge_token=wrong"}, {"Authorization": "Bearer "}):
            assert server.request("GET", "/api/state", None, headers)[0] == 401
        assert server.request("POST", "/api/prompts", {"text": "man"})[0] == 401
        assert server.request("POST", "/api/uploads?name=a", b"x" * 1000)[0] == 401
        status, headers, _ = server.request("GET", "/")
        assert (status, headers["location"]) == (303, "/login")
        status, headers, _ = server.request("POST", "/login", b"token=wrong")
        assert (status, headers["location"]) == (303, "/login?wrong") and "set-cookie" not in headers
        for entry in (("GET", f"/?token={token}"), ("POST", "/login", f"token={token}".encode())):
            status, headers, _ = server.request(*entry)
            assert (status, headers["location"]) == (303, "/")
            assert "HttpOnly" in headers["set-cookie"] and "SameSite=Lax" in headers["set-cookie"]
            cookie = headers["set-cookie"].split(";")[0]
            assert server.request("GET", "/api/state", None, {"Cookie": cookie})[0] == 200
        # Any name leads here in a network.
        assert server.request("GET", f"/api/state?token={token}", None, {"Host": "camera.local"})[0] == 200


def test_without_a_positional_engine_a_click_chooses_among_the_found(run_server, make_tiny_bundle, clip, tmp_path):
    make_tiny_bundle(tmp_path / "words", positional=False)
    with run_server("--source", str(clip), "--text", "man in red", bundle=tmp_path / "words") as server:
        state = server.wait_for(lambda state: found(state, "man in red"))
        assert state["model"]["positional"] is False
        chosen = server.json("POST", "/api/select", {"x": 40 / 160, "y": 50 / 120})["id"]
        assert chosen == state["prompts"][0]["id"] == server.state()["selected"]
        status, _, body = server.request("POST", "/api/select", {"x": 115 / 160, "y": 60 / 120})
        assert status == 422 and b"--prompts text,point" in body


def test_sigterm_ends_it_with_viewers_and_leaves_no_uploads(run_server, clip, tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    with run_server("--source", str(clip), "--text", "man in red") as server:
        server.json("POST", "/api/uploads?name=a.avi", clip.read_bytes())
        with open_stream(server) as connection, connection.makefile("rb") as stream:
            read_parts(stream, 2)
            started = time.monotonic()
            output = server.stop()
        assert time.monotonic() - started < 10
        assert server.process.returncode == 0
        assert output.splitlines() == ["stopped"]
        assert list(tmp_path.glob("humar-edge-*")) == []


def test_ctrl_c_ends_it_and_named_folders_are_kept(run_server, clip, tmp_path):
    with run_server("--source", str(clip), "--uploads", str(tmp_path / "kept")) as server:
        made = server.json("POST", "/api/uploads?name=a.avi", clip.read_bytes())
        assert server.stop(signal.SIGINT).splitlines() == ["stopped"]
        assert server.process.returncode == 0
    assert [path.stem for path in (tmp_path / "kept").iterdir()] == [made["id"]]
    with run_server("--source", str(clip), "--uploads", str(tmp_path / "kept")) as server:
        assert server.state()["sources"][-1]["id"] == made["id"]


def test_without_a_source_the_demo_clip_is_shown(run_server):
    with run_server() as server:
        state = server.wait_for(lambda state: state["frames"] > 0)
        assert [source["id"] for source in state["sources"]] == ["demo"]
        assert prompts(state) == ["the man in red"]


def test_a_source_that_breaks_is_told_and_can_be_replaced(run_server, clip, tmp_path):
    broken = tmp_path / "folder"
    broken.mkdir()
    (broken / "a.png").write_bytes(cv2.imencode(".png", np.zeros((9, 9, 3), np.uint8))[1].tobytes())
    with run_server("--source", str(broken)) as server:
        server.wait_for(lambda state: state["frames"] > 0)
        (broken / "a.png").unlink()
        server.json("POST", "/api/source", {"id": "start"})
        state = server.wait_for(lambda state: state["problem"])
        assert "no pictures" in state["problem"]
        server.json("POST", "/api/source", {"id": "demo"})
        server.wait_for(lambda state: state["problem"] is None and state["frame"]["width"] == 640)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--source", "no/such/clip.mp4"], "no such file"),
        (["--source", "a.mp4", "--camera", "0"], "one source"),
        (["--source", "http://[::1/a.mp4"], "is not an address"),
        (["--token", "short"], "at least 8"),
        (["--text", " "], "prompt is empty"),
    ],
)
def test_mistakes_are_one_line_and_exit_code_2(tiny_bundle, arguments, message):
    code = "from humar_edge.cli.main import main; main()"
    command = [sys.executable, "-c", code, "serve", "--model", str(tiny_bundle), "--backend", "onnxruntime"]
    done = subprocess.run([*command, "--port", "0", *arguments], capture_output=True, text=True, timeout=60)
    assert done.returncode == 2 and done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: ") and message in line


def test_a_port_in_use_is_told(tiny_bundle, server, clip):
    code = "from humar_edge.cli.main import main; main()"
    command = [sys.executable, "-c", code, "serve", "--model", str(tiny_bundle), "--backend", "onnxruntime"]
    arguments = ["--source", str(clip), "--port", str(server.port)]
    done = subprocess.run([*command, *arguments], capture_output=True, text=True, timeout=60)
    assert done.returncode == 2 and f"cannot serve on 127.0.0.1:{server.port}" in done.stderr
