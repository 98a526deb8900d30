"""A small RTSP server for tests: one video as motion JPEG, over the same TCP connection as the requests.

    python tests/support/rtsp_server.py PORT VIDEO [--mute]

RTSP after RFC 2326 (OPTIONS, DESCRIBE, SETUP interleaved, PLAY, TEARDOWN), RTP after RFC 3550, pictures after RFC 2435.
Prints the port when it listens; `--mute` answers requests and never sends a picture. To be killed.
"""

from __future__ import annotations

import socket
import struct
import sys
import threading
import time
from contextlib import suppress
from typing import BinaryIO

import cv2

CLOCK, FPS, PAYLOAD = 90_000, 25, 1400
SDP = (
    "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=clip\r\nc=IN IP4 0.0.0.0\r\nt=0 0\r\n"
    "m=video 0 RTP/AVP 26\r\na=control:track\r\n"
)


class Jpeg:
    """What RTP carries of a baseline JPEG with the usual Huffman tables (RFC 2435, section 3)."""

    def __init__(self, data: bytes) -> None:
        self.tables, position = b"", 2
        while data[position + 1] != 0xDA:  # segments up to the scan
            kind, length = data[position + 1], int.from_bytes(data[position + 2 : position + 4], "big")
            body = data[position + 4 : position + 2 + length]
            if kind == 0xDB:
                self.tables += b"".join(body[start + 1 : start + 65] for start in range(0, len(body), 65))
            elif kind == 0xC0:
                self.height, self.width = struct.unpack(">HH", body[1:5])
                self.kind = 1 if body[7] == 0x22 else 0  # 4:2:0 or 4:2:2
            position += 2 + length
        position += 2 + int.from_bytes(data[position + 2 : position + 4], "big")
        self.scan = data[position:-2]

    def payloads(self) -> list[bytes]:
        """The picture in pieces, the tables in the first one (quality 255)."""
        pieces = []
        for offset in range(0, len(self.scan), PAYLOAD):
            head = offset.to_bytes(4, "big") + bytes([self.kind, 255, self.width // 8, self.height // 8])
            tables = struct.pack(">BBH", 0, 0, len(self.tables)) + self.tables if offset == 0 else b""
            pieces.append(head + tables + self.scan[offset : offset + PAYLOAD])
        return pieces


def read_clip(path: str, most: int = 50) -> list[list[bytes]]:
    """The first frames of a video, ready to be sent."""
    capture, frames = cv2.VideoCapture(path), []
    while len(frames) < most and (read := capture.read())[0]:
        frames.append(Jpeg(cv2.imencode(".jpg", read[1], [cv2.IMWRITE_JPEG_QUALITY, 80])[1].tobytes()).payloads())
    return frames


def play(connection: socket.socket, frames: list[list[bytes]]) -> None:
    """Send the frames in real time, again and again, until the client has gone."""
    sequence, started, number = 0, time.monotonic(), 0
    try:
        while True:
            stamp, pieces = number * CLOCK // FPS, frames[number % len(frames)]
            for index, piece in enumerate(pieces):
                marker = 0x80 if index == len(pieces) - 1 else 0
                packet = struct.pack(">BBHII", 0x80, 26 | marker, sequence & 0xFFFF, stamp & 0xFFFFFFFF, 0x5EED) + piece
                connection.sendall(struct.pack(">cBH", b"$", 0, len(packet)) + packet)
                sequence += 1
            number += 1
            time.sleep(max(started + number / FPS - time.monotonic(), 0))
    except OSError:
        connection.close()


def serve(connection: socket.socket, frames: list[list[bytes]]) -> None:
    """Answer the requests of one client until it has gone."""
    with suppress(OSError), connection.makefile("rb") as stream:
        while first := stream.read(1):
            answer(connection, stream, first, frames)


def answer(connection: socket.socket, stream: BinaryIO, first: bytes, frames: list[list[bytes]]) -> None:
    """Answer one request, of which the first byte is read already."""
    if first == b"$":  # a receiver report
        stream.read(int.from_bytes(stream.read(3)[1:], "big"))
        return
    request = (first + stream.readline()).decode()
    headers = dict(line.decode().strip().split(": ", 1) for line in iter(stream.readline, b"\r\n"))
    method, url = request.split()[:2]
    extra, body = [f"CSeq: {headers['CSeq']}", "Session: 1"], ""
    if method == "OPTIONS":
        extra.append("Public: OPTIONS, DESCRIBE, SETUP, PLAY, TEARDOWN")
    elif method == "DESCRIBE":
        body = SDP
        extra += ["Content-Type: application/sdp", f"Content-Base: {url}/", f"Content-Length: {len(body)}"]
    elif method == "SETUP":
        extra.append("Transport: RTP/AVP/TCP;unicast;interleaved=0-1")
    connection.sendall("\r\n".join(["RTSP/1.0 200 OK", *extra, "", body]).encode())
    if method == "PLAY" and frames:
        threading.Thread(target=play, args=(connection, frames), daemon=True).start()


def main(port: str, video: str, mute: str = "") -> None:
    """Listen until killed."""
    frames = [] if mute else read_clip(video)
    with socket.create_server(("127.0.0.1", int(port))) as server:
        print(server.getsockname()[1], flush=True)
        while True:
            connection, _ = server.accept()
            threading.Thread(target=serve, args=(connection, frames), daemon=True).start()


if __name__ == "__main__":
    main(*sys.argv[1:])
