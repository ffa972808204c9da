"""Registered clients: apps of people and systems; by the administrator alone, never by themselves.

There are no shared secrets: a confidential client proves itself by its key (private_key_jwt).
"""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import urlsplit

import msgspec
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, KeySet, RSAKey

from dmed.kit.errors import InvalidError, NotFoundError
from dmed.trust.oauth import tables
from dmed.trust.oauth.scopes import Scopes, parse
from dmed.trust.tables import Connection

PUBLIC = "public"
CONFIDENTIAL = "confidential"
KEYS_MAX_CHARACTERS = 20_000
REDIRECTS_MAX = 20
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,63}", re.ASCII)
_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
_OWN_SCHEME = re.compile(r"[a-z][a-z0-9+-]*(\.[a-z0-9+-]+)+", re.ASCII)
_RSA_MIN_BITS = 2048


class Client(msgspec.Struct, frozen=True, kw_only=True):
    """What the administrator registered; `scopes` is the most that it is ever given."""

    id: str
    name: str
    kind: str = PUBLIC
    redirect_uris: tuple[str, ...] = ()
    scopes: str = ""
    keys: str = ""
    """Its public keys as JWK set, of a confidential client."""
    account: str = ""
    """The account of a system, as which client credentials act."""
    launch_uri: str = ""
    """Where the platform opens the app for a person's card (EHR launch)."""

    @property
    def allowed(self) -> Scopes:
        """The registered scopes as a model."""
        return parse(self.scopes)


def checked(client: Client) -> Client:
    """A registration that can be served; InvalidError names what is wrong with it."""
    if not _ID.fullmatch(client.id):
        raise InvalidError("A client's id has 2 to 64 Latin letters, digits, dots and hyphens")
    if not 1 <= len(client.name) <= 100:
        raise InvalidError("A client's name has 1 to 100 characters")
    if len(client.redirect_uris) > REDIRECTS_MAX:
        raise InvalidError(f"A client has at most {REDIRECTS_MAX} redirect addresses")
    for address in (*client.redirect_uris, *([client.launch_uri] if client.launch_uri else [])):
        check_address(address)
    if client.kind not in {PUBLIC, CONFIDENTIAL}:
        raise InvalidError(f"A client is {PUBLIC} or {CONFIDENTIAL}")
    if (client.kind == CONFIDENTIAL) != bool(client.keys):
        raise InvalidError("A confidential client has keys, a public one has none")
    if client.account and client.kind != CONFIDENTIAL:
        raise InvalidError("Only a confidential client acts as a system's account")
    allowed = client.allowed
    if any(grant.level == "system" for grant in allowed.grants) and not client.account:
        raise InvalidError("Scopes of level system need the account of a system")
    keys = public_keys(client.keys) if client.keys else ""
    return msgspec.structs.replace(client, keys=keys)


def check_address(address: str) -> None:
    """Refuse an address that would send a code in the clear or anywhere but where it is written:
    https, http to this very machine, or an app's own scheme with a dot in it (RFC 8252).
    """
    parts = urlsplit(address)
    is_web = parts.scheme == "https" or (
        parts.scheme == "http" and (parts.hostname or "") in _LOOPBACK
    )
    if (
        len(address) > 500
        or not address.isascii()
        or any(letter in address for letter in " \"'<>\\;,#")
        or parts.username is not None
        or not ((is_web and parts.hostname) or _OWN_SCHEME.fullmatch(parts.scheme))
    ):
        raise InvalidError(
            f"{address[:100]!r}: an address is https, http on localhost, or an app's own scheme "
            "such as uz.example.app:/done, without fragment"
        )


def origin(address: str) -> str:
    """The origin of an address as policies of browsers name it; an own scheme is `scheme:`."""
    parts = urlsplit(address)
    if parts.scheme in {"http", "https"}:
        return f"{parts.scheme}://{parts.netloc.lower()}"
    return f"{parts.scheme}:"


def public_keys(text: str) -> str:
    """A JWK set of public EC (P-256, P-384) and RSA keys as JSON; InvalidError otherwise."""
    refusal = InvalidError("The keys are no JWK set of public keys (P-256, P-384 or RSA)")
    if len(text) > KEYS_MAX_CHARACTERS:
        raise refusal
    try:
        raw = msgspec.json.decode(text, type=dict[str, Any])
        found = [_public(each) for each in raw.get("keys", [raw])]
    except (JoseError, ValueError, KeyError, TypeError, AttributeError, msgspec.DecodeError) as bad:
        raise refusal from bad
    if not found or len({each["kid"] for each in found}) != len(found):
        raise refusal
    return msgspec.json.encode({"keys": found}).decode()


def _public(raw: dict[str, Any]) -> dict[str, Any]:
    kinds: dict[str, type[ECKey | RSAKey]] = {"EC": ECKey, "RSA": RSAKey}
    key = kinds[raw["kty"]].import_key(raw)
    if key.is_private or (isinstance(key, ECKey) and key.curve_name not in {"P-256", "P-384"}):
        raise ValueError("private or of another curve")
    if isinstance(key, RSAKey) and key.raw_value.key_size < _RSA_MIN_BITS:
        raise ValueError("too short")
    public: dict[str, Any] = key.as_dict(private=False)
    return {**public, "kid": str(raw.get("kid") or key.thumbprint())}


def key_set(client: Client) -> KeySet:
    """The keys by which a confidential client proves itself."""
    return KeySet.import_key_set(msgspec.json.decode(client.keys))


class Clients:
    """The register of clients."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def save(self, client: Client, *, within: Connection | None = None) -> Client:
        """Register a client or replace it, `within` a unit together with the rest of it;
        InvalidError for what cannot be served.
        """
        client = checked(client)
        await tables.save_client(
            within or self._connection,
            (
                client.id,
                client.name,
                client.kind,
                list(client.redirect_uris),
                client.scopes,
                client.keys,
                client.account or None,
                client.launch_uri,
            ),
        )
        return client

    async def get(self, id_: str) -> Client | None:
        """An active client, or None."""
        row = await tables.client(self._connection, id_) if _ID.fullmatch(id_) else None
        return None if row is None else _client(row)

    async def all(self) -> list[Client]:
        """All active clients by name."""
        return [_client(row) for row in await tables.clients(self._connection)]

    async def close(self, id_: str) -> None:
        """Refuse a client from now on, with all that it was given; NotFoundError without such."""
        if not await tables.close_client(self._connection, id_):
            raise NotFoundError(f"There is no client {id_!r}")


def _client(row: Any) -> Client:
    return Client(
        id=row["id"],
        name=row["name"],
        kind=row["kind"],
        redirect_uris=tuple(row["redirect_uris"]),
        scopes=row["scopes"],
        keys=row["keys"],
        account=row["account"] or "",
        launch_uri=row["launch_uri"],
    )
