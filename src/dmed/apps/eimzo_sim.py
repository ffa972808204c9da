"""`dmed sim eimzo`: the E-IMZO program of a desk and the operator's service, simulated.

One port answers both: the WebSocket of the program (list keys, load one, create_pkcs7) and the HTTP
of e-imzo-server (time stamp, verification). Its authority speaks the national algorithms; its keys
mean nothing. `POST /sim/mode` makes it fail as the real ones do.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import json
import struct
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from dmed.trust.signing import cms
from dmed.trust.signing.authority import Authority, Kind
from dmed.trust.signing.model import Holder, SignatureError

MODES = ("", "down", "error", "nonsense", "refuse", "revoked", "unverified", "no-stamps")
"""What the service can do wrong; "": nothing."""
_HEAD_MAX_BYTES = 16_384
_BODY_MAX_BYTES = 1 << 20
_WAIT_SECONDS = 30
_MAGIC = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_TEXT, _CLOSE = 1, 8


class Simulator:
    """An authority, the keys of a few people, and what goes wrong just now."""

    def __init__(self, folder: Path, people: list[Holder]) -> None:
        self.authority = Authority(folder, Kind.NATIONAL)
        self.people = people
        self.mode = ""
        self.roots = folder / "root.pem"
        root = x509.load_der_x509_certificate(self.authority.root.raw)
        self.roots.write_bytes(root.public_bytes(Encoding.PEM))
        self._loaded: dict[str, Holder] = {}

    def signed(self, document: bytes, holder: Holder, *, attached: bool = True) -> bytes:
        """What the program makes of a document: a message without a time stamp."""
        at = datetime.now(UTC).replace(microsecond=0)
        return cms.make(document, self.authority.person(holder), at, attached=attached)

    # The program of a desk

    def asked(self, question: dict[str, Any]) -> dict[str, Any]:
        """The program's answer to one message of a page."""
        arguments = question.get("arguments") or []
        match question.get("name"):
            case "version":
                return {"success": True, "major": "4", "minor": "86"}
            case "apikey":
                return {"success": True}
            case "list_all_certificates":
                return {"success": True, "certificates": [
                    {"disk": "", "path": "", "name": f"DS{place}",
                     "alias": f"cn={one.name},1.2.860.3.16.1.2={one.pinfl}"}
                    for place, one in enumerate(self.people)]}
            case "load_key" if len(arguments) == 4:
                place = str(arguments[2]).removeprefix("DS")
                if not place.isdecimal() or int(place) >= len(self.people):
                    return {"success": False, "reason": "no such key"}
                number = hashlib.sha256(place.encode()).hexdigest()[:32]
                self._loaded[number] = self.people[int(place)]
                return {"success": True, "keyId": number, "type": "certkey"}
            case "create_pkcs7" if len(arguments) == 3 and arguments[1] in self._loaded:
                made = self.signed(base64.b64decode(arguments[0]), self._loaded[arguments[1]],
                                   attached=arguments[2] != "yes")
                return {"success": True, "pkcs7_64": base64.b64encode(made).decode()}
        return {"success": False, "reason": "not understood"}

    # The operator's service

    def served(self, path: str, body: bytes) -> tuple[int, bytes]:
        """Status and body of the service's answer."""
        if path == "/sim/mode":
            self.mode = body.decode() if body.decode() in MODES else ""
            return 200, b"{}"
        if self.mode == "error":
            return 503, b"unavailable"
        if self.mode == "nonsense":
            return 200, b'{"status": "maybe"'
        try:
            answer = self._judged(path, body)
        except (SignatureError, ValueError) as error:
            answer = {"status": -10, "message": str(error)}
        return 200, json.dumps(answer).encode()

    def _judged(self, path: str, body: bytes) -> dict[str, Any]:
        if self.mode == "refuse":
            return {"status": -11, "message": "certificate is not accepted"}
        if path == "/frontend/timestamp/pkcs7":
            if self.mode == "no-stamps":
                return {"status": -2, "message": "TimeStampTokenProvider UNAVAILABLE"}
            made = cms.with_stamp(base64.b64decode(body), self.authority.stamp)
            return {"status": 1, "message": "", "pkcs7b64": base64.b64encode(made).decode(),
                    "timestampedSignerList": []}
        first, _, second = body.partition(b"|")
        message = cms.read(base64.b64decode(second or first))
        document = base64.b64decode(first) if second else (message.content or b"")
        roots = [self.authority.root]
        proof = cms.verify(message, document, roots, stamp_roots=roots, needs_status=False)
        signer: dict[str, Any] = {
            "verified": self.mode != "unverified", "certificateVerified": True,
            "certificateValidAtSigningTime": True,
            "signingTime": f"{proof.signed:%Y-%m-%d %H:%M:%S}",
            "OCSPResponse": base64.b64encode(
                self.authority.status(message.signer())).decode(),
        }  # fmt: skip  # One object.
        if self.mode == "revoked":
            signer["revokedStatusInfo"] = {"reason": "KEY_COMPROMISE"}
        return {"status": 1, "message": "", "pkcs7Info": {
            "signers": [signer], "documentBase64": base64.b64encode(document).decode()}}

    # The port

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection: a request, or a WebSocket until its end."""
        with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError,
                                 ValueError, TimeoutError):
            async with asyncio.timeout(_WAIT_SECONDS):
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
                first, *rows = head.split("\r\n")
                path = first.split(" ")[1]
                headers = {name.lower(): value.strip() for name, _, value in
                           (row.partition(":") for row in rows if row)}
                if "sec-websocket-key" not in headers:
                    await self._http(reader, writer, path, headers)
            if "sec-websocket-key" in headers:
                await self._socket(reader, writer, headers["sec-websocket-key"])
        writer.close()

    async def _http(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, path: str,
                    headers: dict[str, str]) -> None:
        length = int(headers.get("content-length", "0"))
        if length > _BODY_MAX_BYTES:
            return
        body = await reader.readexactly(length)
        if self.mode == "down" and path != "/sim/mode":
            return
        status, answer = self.served(path, body)
        head = (f"HTTP/1.1 {status} OK\r\nContent-Length: {len(answer)}\r\n"
                "Content-Type: application/json\r\nConnection: close\r\n\r\n")
        writer.write(head.encode() + answer)
        await writer.drain()

    async def _socket(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter,
                      key: str) -> None:
        """https://www.rfc-editor.org/rfc/rfc6455: whole text frames only, as a page sends them."""
        accept = base64.b64encode(
            hashlib.sha1(key.encode() + _MAGIC, usedforsecurity=False).digest()).decode()
        writer.write(("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
                      f"Connection: Upgrade\r\nSec-WebSocket-Accept: {accept}\r\n\r\n").encode())
        while True:
            kind, text = await _frame(reader)
            if kind == _CLOSE:
                writer.write(bytes((0x80 | _CLOSE, 0)))
                return
            if kind == _TEXT:
                answer = json.dumps(self.asked(json.loads(text))).encode()
                head = (bytes((0x80 | _TEXT, len(answer))) if len(answer) < 126
                        else bytes((0x80 | _TEXT, 127)) + struct.pack(">Q", len(answer)))
                if 125 < len(answer) < 65_536:
                    head = bytes((0x80 | _TEXT, 126)) + struct.pack(">H", len(answer))
                writer.write(head + answer)
                await writer.drain()


async def _frame(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    first, second = await reader.readexactly(2)
    length = second & 0x7F
    if length == 126:
        length = struct.unpack(">H", await reader.readexactly(2))[0]
    elif length == 127:
        length = struct.unpack(">Q", await reader.readexactly(8))[0]
    if length > _BODY_MAX_BYTES or not second & 0x80:
        raise ValueError("a frame is too long, or not masked")
    mask = await reader.readexactly(4)
    data = await reader.readexactly(length)
    return first & 0x0F, bytes(byte ^ mask[place % 4] for place, byte in enumerate(data))


def demo_people() -> list[Holder]:
    """The demo's doctor and pharmacist, with the personal numbers of the staff register."""
    from dmed.modules.workforce import demo
    from dmed.modules.workforce.rules import PINFL_SYSTEM

    found = []
    for user in ("doctor", "pharmacist"):
        district, post, place = demo.DEMO_POSTS[user]
        holder, made = demo.hire(district, post, place, "", "")
        record = json.loads(made[0].body)
        numbers = {one["system"]: one["value"] for one in record["identifier"]}
        found.append(Holder(role=holder.role, name=holder.name, pinfl=numbers[PINFL_SYSTEM]))
    return found


async def serve(simulator: Simulator, host: str, port: int) -> None:
    """Answers until it is cancelled."""
    server = await asyncio.start_server(simulator.answer, host, port, limit=_HEAD_MAX_BYTES)
    async with server:
        await server.serve_forever()


def run(folder: Path, port: int) -> None:
    """Runs the simulator for the demo's people; tells how a platform is told of it."""
    simulator = Simulator(folder, demo_people())
    print(f"DMED_SIGNER=eimzo DMED_EIMZO_URL=http://127.0.0.1:{port} "
          f"DMED_EIMZO_SOCKET=ws://127.0.0.1:{port}/service/cryptapi "
          f"DMED_EIMZO_ROOTS={simulator.roots}", flush=True)
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(serve(simulator, "127.0.0.1", port))
