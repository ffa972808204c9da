"""All settings, from the environment; docs/reference/settings.md lists them and a test compares."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import msgspec

from dmed.kit.errors import InvalidError

_TRUE = {"1", "true", "yes", "on"}
_FALSE = {"0", "false", "no", "off", ""}


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """What an installation may choose. Field `x` is read from `DMED_X`."""

    data: Path = Path(".dmed")
    """Folder of the embedded database, keys and backups."""
    database_url: str = ""
    """Any PostgreSQL 16+ instead of the embedded one: `postgresql://user:word@host/name`."""
    host: str = "127.0.0.1"
    """Address to listen on."""
    port: int = 8080
    """Port to listen on."""
    workers: int = 2
    """Processes that answer requests."""
    public_url: str = ""
    """Address under which browsers and systems reach this installation; empty: as asked."""
    stolen_passwords: str = ""
    """Folder of ranges of stolen passwords (first five signs of the SHA-1); empty: rules alone."""
    security_contact: str = ""
    """Where `/.well-known/security.txt` sends people; empty: `mailto:security@` this host."""
    metrics_for: str = "127.0.0.1 ::1"
    """Addresses (by commas) that may ask `/metrics`; `*` is everybody, empty nobody."""
    describe: bool = True
    """`/openapi.json`, which describes the FHIR address to anybody; false: 404."""
    lines_unchecked: bool = False
    """Talk with other machines without TLS that checks whom one reaches: the database (without
    `sslmode=verify-full`), services (`http:`), browsers; where the line is guarded otherwise."""
    trusted_proxies: str = ""
    """Addresses of reverse proxies (by commas) whose X-Forwarded-For is believed."""
    accept_unverified_signatures: bool = False
    """Take a system's prescription also where its signature is by no registered key; for trials."""
    body_limit_bytes: int = 4 * 1024 * 1024
    """Largest request body; above it the answer is 413."""
    bundle_limit_bytes: int = 32 * 1024 * 1024
    """Largest batch or transaction."""
    bundle_limit_entries: int = 10_000
    """Most entries of a batch or transaction."""
    count_default: int = 20
    """Page size of a search without `_count`."""
    count_max: int = 1_000
    """Largest page a search may ask for."""
    include_max: int = 1_000
    """Most records that `_include` and `_revinclude` add to a page."""
    content_search: bool = True
    """The words of whole records are kept for `_content`; false saves their space and time."""
    validate_profiles: bool = True
    """A record that claims an installed profile (`meta.profile`) is refused where it breaks it."""
    if_match_required: bool = False
    """The country's rule: an update without If-Match is 412."""
    reference_integrity: bool = False
    """A literal reference to a record that does not exist is refused."""
    logical_delete: bool = False
    """The country's rule: records are withdrawn by status; DELETE is 405."""
    pool_size: int = 8
    """Database connections of one worker."""
    party_running_max: int = 64
    """Requests of one person, system or unknown address that a worker works on at once."""
    party_waiting_max: int = 448
    """Requests of one of them that wait for its own places; beyond them the answer is 429."""
    party_rate_per_second: int = 20_000
    """Requests a second by tokens of one person or system; bursts of four seconds'. All workers of
    a machine count together, over several machines each machine counts for itself."""
    page_rate_per_second: int = 100
    """Requests a second of one person at the pages; bursts of four seconds' worth."""
    stranger_rate_per_second: int = 500
    """The same for an address of which nobody is signed in."""
    requests_max: int = 4_000
    """Requests inside one worker; beyond them the answer is 503."""
    request_head_limit_bytes: int = 65_536
    """Largest first line and headers of a request; above it the answer is 431."""
    request_head_seconds: int = 15
    """A connection whose first line and headers take longer is closed."""
    request_body_seconds: int = 120
    """A connection whose request body takes longer is closed."""
    response_stall_seconds: int = 60
    """A connection that takes nothing of its answer for so long is cut."""
    response_limit_bytes: int = 64 * 1024 * 1024
    """Largest page of records; a search that finds more is asked for a smaller `_count`."""
    backup_key_file: str = ""
    """File of the backup key; empty: `.config/dmed/backup.key` in the home of who calls."""
    session_idle_minutes: int = 30
    """A page session ends after so long without a request."""
    sessions_max: int = 10
    """Live page sessions of one person; one more ends the one that was used longest ago."""
    session_max_hours: int = 12
    """A page session ends after so long in any case."""
    audit_lodge: str = ""
    """Where hourly roots of the audit go: folders or https addresses outside, by commas."""
    audit_lodge_minutes: int = 60
    """How often a root of the audit is lodged outside."""
    audit_keep_months: int = 0
    """`dmed audit retire` exports and drops older months of the audit; 0 keeps all."""
    rows_per_hour: int = 20_000
    """Most persons' records that one user may be given in an hour, then 429; 0 is no limit."""
    rows_per_hour_system: int = 36_000_000
    """The same for a system client."""
    session_shared_idle_minutes: int = 10
    """As session_idle_minutes, where a person said at sign-in that others use this computer too."""
    first_password_hours: int = 72
    """So long a password that an administrator gave may be used to choose an own one."""
    second_factor_roles: str = "administrator,doctor,pharmacist,registrar,head,inspector"
    """Roles (by commas) that sign in with a second factor only; demo accounts are let off."""
    access_token_minutes: int = 10
    """Life of an app's access token, 5 to 15 minutes."""
    refresh_token_days: int = 30
    """An app that was allowed to stay (`offline_access`) asks its person anew after so long."""
    signer: str = "embedded"
    """Who makes the signatures of staff: `embedded` (test authority) or `eimzo` (national keys)."""
    eimzo_url: str = ""
    """The operator's verification service (e-imzo-server), e.g. `http://127.0.0.1:8080`."""
    eimzo_roots: str = ""
    """File of the national PKI's root certificates (PEM) that are trusted with `eimzo`."""
    eimzo_socket: str = "wss://127.0.0.1:64443/service/cryptapi"
    """Where a browser finds the E-IMZO program of its desk."""
    eimzo_key: str = ""
    """Key that the E-IMZO program asks of this site's name; empty where it asks none."""
    medicine_feed: str = ""
    """Address of the feed of medicines (DARMON); empty: the starting catalogue is in force."""
    medicine_feed_key: str = ""
    """Bearer key that the feed of medicines asks."""
    medicine_feed_minutes: int = 15
    """How often the feed of medicines is asked."""
    medicine_stale_hours: int = 24
    """Without a usable answer for so long the register of medicines is shown as stale."""
    medicine_withdraw_percent: int = 2
    """A delivery that would withdraw more of the register than this is held for a person."""
    marking_operator: str = ""
    """Address of the marking operator (Asl Belgisi) that knows every pack; empty: our own records
    alone, and the invented packs of the demonstration prefix."""
    marking_key: str = ""
    """Bearer key that the marking operator asks."""
    marking_per_minute: int = 100
    """Most requests a minute to the marking operator, by all workers together."""
    marking_wait_ms: int = 2_000
    """So long a scan waits for the marking operator before our own records alone decide."""
    marking_needed: bool = False
    """Hand nothing over while the marking operator is not reached and never told of the pack."""
    licence_register: str = ""
    """The register of licences that newcomers are checked against; empty: a demo invents it."""
    licence_register_key: str = ""
    """Bearer key that the register of licences asks for; empty where it asks none."""
    fund: str = ""
    """Address of the State Health Insurance Fund's service; empty: nothing is claimed."""
    fund_key: str = ""
    """Bearer key that the fund's service asks for; empty where it asks none."""
    scanner: str = ""
    """Scanner of files (clamd) that sees every attachment before it is stored, `tcp://host:port`
    or `unix:/path`; empty: attachments are stored unseen."""
    outgoing: str = ""
    """Further addresses that the server may ask, by commas; those of other settings it may."""
    shared_data: Path = Path("../shared/data")
    """Where tests and conformance commands find test data made by others."""


def variable(field: str) -> str:
    """The name of the environment variable that holds a field."""
    return f"DMED_{field.upper()}"


def load(environment: Mapping[str, str] | None = None) -> Settings:
    """Settings from the environment; a wrong value raises InvalidError that names the variable."""
    environment = os.environ if environment is None else environment
    values: dict[str, object] = {}
    for field in msgspec.structs.fields(Settings):
        raw = environment.get(variable(field.name))
        if raw is None:
            continue
        values[field.name] = _convert(variable(field.name), raw, field.type)
    return Settings(**values)  # type: ignore[arg-type]  # Each value was converted to its field's type.


def _convert(name: str, raw: str, kind: object) -> object:
    if kind is bool:
        if raw.lower() in _TRUE | _FALSE:
            return raw.lower() in _TRUE
        raise InvalidError(f"{name}: {raw!r} is neither true nor false")
    if kind is int:
        if not raw.isdecimal():
            raise InvalidError(f"{name}: {raw!r} is no whole number")
        return int(raw)
    if kind is Path:
        return Path(raw)
    return raw
