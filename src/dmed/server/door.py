"""What every interaction works with: the gateway for plain REST, and what modules registered."""

from __future__ import annotations

from collections.abc import Iterable

from dmed.fhir.facts import facts
from dmed.kit.errors import ConflictError, InvalidError, NotFoundError
from dmed.kit.settings import Settings
from dmed.server.answer import Answer, version_headers
from dmed.server.call import Call
from dmed.server.outcome import success
from dmed.trust.gateway import Gateway, Stored, Written
from dmed.trust.manifest import Interceptor, Keeper, Manifest, Operation


class Door:
    """The FHIR room of one worker.

    `plain` decides as for a person who speaks REST on his own; `acts` is handed to modules.
    """

    def __init__(self, gateway: Gateway, manifests: Iterable[Manifest]) -> None:
        self.acts = gateway
        self.plain = gateway.plain()
        self.settings: Settings = gateway.settings
        self.manifests = tuple(manifests)
        self.types = frozenset(facts().resources)
        self.operations: dict[tuple[str, str, bool], Operation] = {}
        self.interceptors: dict[str, Interceptor] = {}
        self.keepers: dict[str, Keeper] = {}
        for manifest in self.manifests:
            for operation in manifest.operations:
                key = (operation.type, operation.name.removeprefix("$"), operation.instance)
                if key in self.operations:
                    raise ConflictError(f"Two modules serve {key}")
                self.operations[key] = operation
            for interceptor in manifest.interceptors:
                if interceptor.type in self.interceptors:
                    raise ConflictError(f"Two modules intercept {interceptor.type}")
                self.interceptors[interceptor.type] = interceptor
            self.keepers.update({keeper.type: keeper for keeper in manifest.keepers})

    def check_type(self, name: str) -> None:
        """Refuse a name that is no resource type of R5 (404)."""
        if name not in self.types:
            raise NotFoundError(f"{name[:70]!r} is no resource type of FHIR R5")


def record_answer(stored: Stored) -> Answer:
    """A version as the answer to a read."""
    return Answer(body=stored.body, headers=version_headers(stored.vid, stored.updated))


def written_answer(call: Call, written: Written) -> Answer:
    """The answer to a create or update, with what `Prefer: return=` asks for.

    https://hl7.org/fhir/R5/http.html#ops
    """
    headers = version_headers(written.vid, written.updated)
    if written.created:
        headers["Location"] = location(call, written)
    status = 201 if written.created else 200
    return Answer(status=status, body=_returned(call, written), headers=headers)


def location(call: Call, written: Written) -> str:
    """The address of the version that was written."""
    return f"{call.base}/{written.type}/{written.id}/_history/{written.vid}"


def _returned(call: Call, written: Written) -> bytes:
    wish = call.wishes.returns
    if wish == "minimal":
        return b""
    if wish == "OperationOutcome":
        verb = "created" if written.created else "found" if written.unchanged else "updated"
        return success(f"{written.type}/{written.id} was {verb}, version {written.vid}")
    return written.body


def version_id(text: str) -> int:
    """The version id in an address; NotFoundError where it cannot be one of ours."""
    if not (text.isascii() and text.isdecimal() and len(text) < 20):
        raise NotFoundError(f"There is no version {text[:40]!r}")
    return int(text)


def only_positive(text: str, name: str) -> int:
    """A whole number from 0 of a parameter; InvalidError otherwise."""
    if not (text.isascii() and text.isdecimal() and len(text) < 10):
        raise InvalidError(f"{name}={text[:40]!r} is no whole number from 0", name)
    return int(text)
