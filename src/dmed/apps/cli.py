"""The command line: `dmed COMMAND --help` tells each; docs/reference/commands.md is made of it."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

import click
import msgspec

from dmed import __version__
from dmed.kit import settings as settings_module
from dmed.kit.errors import DmedError
from dmed.kit.settings import Settings

_FOLDER = click.Path(file_okay=False, path_type=Path)
_FILE = click.Path(exists=True, path_type=Path)


def _chosen(**options: Any) -> Settings:
    """Settings of the environment, with the options that were given on the command line."""
    given = {name: value for name, value in options.items() if value is not None}
    return msgspec.structs.replace(settings_module.load(), **given)


def _plainly(command: Callable[..., Any]) -> Callable[..., Any]:
    """An expected error ends the command with its sentence, not with a trace."""

    @wraps(command)
    def run(*arguments: Any, **options: Any) -> Any:
        try:
            return command(*arguments, **options)
        except DmedError as error:
            for issue in error.issues:
                where = f"{issue.expression}: " if issue.expression else ""
                click.echo(f"dmed: {where}{issue.diagnostics}", err=True)
            sys.exit(1)

    return run


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="dmed")
def main() -> None:
    """DMED, the open national digital-health platform.

    Every command works on the installation in `.dmed/` of this folder (DMED_DATA), and joins the
    database that runs there.
    """


@main.command()
@click.option("--host", help="Address to listen on [DMED_HOST].")
@click.option("--port", type=int, help="Port to listen on [DMED_PORT].")
@click.option("--workers", type=int, help="Processes that answer requests [DMED_WORKERS].")
@click.option("--data", type=_FOLDER, help="Folder of the installation [DMED_DATA].")
@click.option("--cert", type=_FILE, help="Certificate chain (PEM): serve HTTPS.")
@click.option("--key", type=_FILE, help="Private key (PEM) of the certificate.")
@click.option("--demo", is_flag=True, help="Fill an empty installation with a synthetic country.")
@_plainly
def serve(host: str | None, port: int | None, workers: int | None, data: Path | None,
          cert: Path | None, key: Path | None, demo: bool) -> None:
    """Serves the platform; starts the embedded database where it does not run yet."""
    from dmed.apps.serving import serve as run

    if (cert is None) != (key is None):
        raise click.UsageError("--cert and --key go together")
    run(_chosen(host=host, port=port, workers=workers, data=data), cert=cert, key=key, demo=demo)


@main.command()
@click.option("--persons", type=click.IntRange(20, 5_000_000), default=2_000, show_default=True)
@click.option("--seed", type=int, default=1, show_default=True, help="Same seed, same bytes.")
@click.option("--until", default="", help="Last day of the country's records (YYYY-MM-DD).")
@_plainly
def demo(persons: int, seed: int, until: str) -> None:
    """Fills the installation with a synthetic country and the demo users."""
    from dmed.apps.country import fill

    fill(_chosen(), persons=persons, seed=seed, until=until)


@main.command("import")
@click.argument("files", nargs=-1, required=True, type=_FILE)
@click.option("--replace", is_flag=True, help="Overwrite records that exist already.")
@click.option("--profiles/--no-profiles", default=True, show_default=True,
              help="Hold records to the installed profiles that they claim.")
@_plainly
def import_(files: tuple[Path, ...], replace: bool, profiles: bool) -> None:
    """Loads NDJSON, JSON, Bundles or folders of them, plain or .gz; bad lines are reported.

    An interrupted import goes on where it stopped when it is called again.
    """
    from dmed.apps.importing import import_files

    sys.exit(1 if import_files(_chosen(), files, replace=replace,
                               profiles=profiles) else 0)


@main.command("export")
@click.argument("folder", type=_FOLDER)
@click.option("--request", type=int, help="Number of an approved request for bulk reading.")
@_plainly
def export(folder: Path, request: int | None) -> None:
    """Writes all current records as NDJSON, one file a type, which `dmed import` reads.

    Where others than demo users work, two people answer for it: one asks, another approves
    (/oversight/bulk).
    """
    from dmed.apps.bulk import export as run

    run(_chosen(), folder, request)


@main.group()
def guide() -> None:
    """Implementation guides: profiles and code lists."""


@guide.command("install")
@click.argument("paths", nargs=-1, required=True, type=_FILE)
@_plainly
def guide_install(paths: tuple[Path, ...]) -> None:
    """Stores the definitions of FHIR packages (.tgz) or folders of JSON, and lists them.

    Packages that they depend on are taken from beside them. Installing again upgrades: what the
    new version drops goes, all at once; servers that run validate with it within seconds.
    """
    from dmed.apps.guides import install_guide

    sys.exit(0 if install_guide(_chosen(), *paths) else 1)


@main.command("conformance")
@click.argument("suite", type=click.Choice(
    ["fhirpath", "validator", "fhirpath-patch", "json-patch", "all"]))
@click.argument("folder", type=_FILE)
@click.option("--write", is_flag=True, help="Write docs/reference/conformance.md (with `all`).")
@_plainly
def conformance(suite: str, folder: Path, write: bool) -> None:
    """Runs a published test suite from a folder of its format, or all of a folder of suites.

    Tells each failing case and, as the last line, how many passed and how many there are. The
    exit status is 0 when every case passed, 1 when one failed or the folder holds no such suite.
    """
    from dmed.apps.conformance import run, run_all

    if suite != "all":
        sys.exit(0 if run(suite, folder, click.echo) else 1)
    page = Path.cwd() / "docs" / "reference" / "conformance.md" if write else None
    sys.exit(0 if run_all(folder, click.echo, page) else 1)


@main.command("fhirpath")
@click.argument("expression")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, allow_dash=True))
@click.option("--type", "type_", default="", help="Type of a data type in FILE, such as HumanName.")
@_plainly
def fhirpath(expression: str, file: str, type_: str) -> None:
    """Evaluates a FHIRPath expression on a record (JSON or XML; - is standard input).

    Prints one line for each value, its type and its JSON; trace() goes to standard error.
    """
    from dmed.apps.trial import evaluate

    with click.open_file(file, "rb") as opened:
        evaluate(expression, opened.read(), type_, click.echo)


@main.command()
@click.option("--user", required=True, help="doctor, pharmacist, registrar, admin or service")
@_plainly
def token(user: str) -> None:
    """Prints a bearer token of a demo user, for scripts."""
    from dmed.apps.accounts import demo_token

    click.echo(asyncio.run(demo_token(_chosen(), user)))


@main.command()
@click.argument("types", nargs=-1)
@click.option("--words", is_flag=True, help="Only the words of _text and _content.")
@click.option("--labels", is_flag=True, help="The sensitivity labels of all records instead.")
@_plainly
def reindex(types: tuple[str, ...], words: bool, labels: bool) -> None:
    """Indexes the records of TYPES anew, and old records for search parameters stored since.

    Needed by hand only after DMED_CONTENT_SEARCH was switched on (--words) or rows were lost: a
    running server does what a newly stored search parameter needs. May be interrupted.
    """
    from dmed.apps import reindexing

    if labels:
        reindexing.relabel(_chosen())
    else:
        reindexing.reindex(_chosen(), types, words=words)


@main.group()
def key() -> None:
    """Public keys by which systems sign what they send."""


@key.command("register")
@click.argument("user")
@click.argument("path", type=_FILE)
@_plainly
def key_register(user: str, path: Path) -> None:
    """Registers the public key (JWK or PEM) of a system's signatures; prints its number (kid)."""
    from dmed.apps.accounts import register_key

    click.echo(asyncio.run(register_key(_chosen(), user, path.read_text())))


@key.command("list")
@click.argument("user")
@_plainly
def key_list(user: str) -> None:
    """Lists the numbers of a system's keys."""
    from dmed.apps.accounts import key_numbers

    for number in asyncio.run(key_numbers(_chosen(), user)):
        click.echo(number)


@key.command("forget")
@click.argument("user")
@click.argument("number")
@_plainly
def key_forget(user: str, number: str) -> None:
    """Forgets a system's key: its signatures are refused from now on."""
    from dmed.apps.accounts import forget_key

    asyncio.run(forget_key(_chosen(), user, number))


@key.command("rotate")
@click.option("--compromised", is_flag=True, help="Accept nothing that the old key signed.")
@_plainly
def key_rotate(compromised: bool) -> None:
    """Signs tokens with a new key from now on; prints its number (kid).

    Running workers follow within seconds. What the old key signed is accepted until it ends.
    """
    from dmed.trust.keys import rotate

    click.echo(rotate(_chosen().data, is_compromised=compromised))


@main.group()
def app() -> None:
    """Apps of others (OAuth 2.0 clients): registered here, never by themselves."""


@app.command("register")
@click.argument("id_", metavar="ID")
@click.option("--name", required=True, help="Name on the consent screen.")
@click.option("--redirect", multiple=True, help="An address it is answered at; repeatable.")
@click.option("--scopes", required=True, help="The most it is ever given, by blanks.")
@click.option("--launch", default="", help="Address by which the platform opens it for a card.")
@click.option("--keys", default="", help="File or https address of its JWK set: confidential.")
@click.option("--account", default="", help="The system's account, for client credentials.")
@_plainly
def app_register(id_: str, name: str, redirect: tuple[str, ...], scopes: str, launch: str,
                 keys: str, account: str) -> None:
    """Registers an app or replaces it. With --keys it proves itself by them (private_key_jwt)."""
    from dmed.apps.accounts import keys_at, register_client
    from dmed.trust.oauth.clients import CONFIDENTIAL, PUBLIC, Client

    asyncio.run(register_client(_chosen(), Client(
        id=id_, name=name, kind=CONFIDENTIAL if keys else PUBLIC, redirect_uris=redirect,
        scopes=scopes, launch_uri=launch, keys=keys_at(keys) if keys else "", account=account)))
    click.echo(f"registered {id_}")


@app.command("list")
@_plainly
def app_list() -> None:
    """Lists the registered apps: id, kind, name, scopes."""
    from dmed.apps.accounts import registered_clients

    for each in asyncio.run(registered_clients(_chosen())):
        click.echo(f"{each.id}  {each.kind}  {each.name}  {each.scopes}")


@app.command("close")
@click.argument("id_", metavar="ID")
@_plainly
def app_close(id_: str) -> None:
    """Refuses an app from now on; all that it was given ends within two seconds."""
    from dmed.apps.accounts import close_client

    asyncio.run(close_client(_chosen(), id_))


@main.group()
def post() -> None:
    """Further posts of a person's account; after sign-in one of them is chosen."""


@post.command("add")
@click.argument("user")
@click.argument("practitioner_role")
@click.option("--role", required=True, help="doctor, pharmacist, registrar or administrator")
@click.option("--organisation", default="", help="Id of the Organization.")
@click.option("--organisation-name", default="")
@click.option("--title", default="", help="Title of the post to show.")
@_plainly
def post_add(user: str, practitioner_role: str, role: str, organisation: str,
             organisation_name: str, title: str) -> None:
    """Gives an account one more post: the id of its PractitionerRole in the staff register."""
    from dmed.apps.accounts import add_post
    from dmed.trust.identity import Account
    from dmed.trust.model import Role

    if role not in {each.value for each in Role}:
        raise click.UsageError(f"{role!r} is no role")
    asyncio.run(add_post(_chosen(), user, Account(
        user=user, role=Role(role), practitioner_role=practitioner_role, post=title,
        organisation=organisation, organisation_name=organisation_name)))


@post.command("drop")
@click.argument("user")
@click.argument("practitioner_role")
@_plainly
def post_drop(user: str, practitioner_role: str) -> None:
    """Takes a further post away; its sessions and tokens end."""
    from dmed.apps.accounts import drop_post

    asyncio.run(drop_post(_chosen(), user, practitioner_role))


@main.group()
def signatures() -> None:
    """Signatures of staff and the platform's seal."""


@signatures.command("verify")
@click.option("--since", default="", help="Only what was written since this day (YYYY-MM-DD).")
@_plainly
def signatures_verify(since: str) -> None:
    """Verifies all stored signatures again and names each that fails, and why.

    Certificates, time stamps, revocation, the signed document, and the records that it is about.
    The exit status is 1 where one fails.
    """
    from dmed.apps.signing import verify_all

    sys.exit(0 if verify_all(_chosen(), since) else 1)


@signatures.command("people")
@_plainly
def signatures_people() -> None:
    """Lists the certificates that the test authority issued: number, last day, name."""
    from dmed.apps.signing import people

    for line in people(_chosen()):
        click.echo(line)


@signatures.command("revoke")
@click.argument("number")
@_plainly
def signatures_revoke(number: str) -> None:
    """Revokes a certificate of the test authority: nothing is signed with it from now on."""
    from dmed.apps.signing import revoke

    revoke(_chosen(), number)


@signatures.command("rotate-seal")
@_plainly
def signatures_rotate_seal() -> None:
    """Adds a key to the platform's seal; older documents verify as before."""
    from dmed.apps.signing import rotate_seal

    click.echo(rotate_seal(_chosen()))


@signatures.command("withdraw-seal")
@click.argument("number")
@click.option("--since", default="", help="When it was stolen: 2026-11-23T09:00+05:00 (now).")
@_plainly
def signatures_withdraw_seal(number: str, since: str) -> None:
    """Withdraws a key of the platform's seal that was stolen or lost, and adds another.

    What was stored before that moment verifies as before; any other seal by it is refused.
    """
    from dmed.apps.signing import withdraw_seal

    click.echo(withdraw_seal(_chosen(), number, since))


@signatures.command("seal-keys")
@_plainly
def signatures_seal_keys() -> None:
    """Lists the keys of the platform's seal, and which of them seals, counts or was withdrawn."""
    from dmed.apps.signing import seal_keys

    for line in seal_keys(_chosen()):
        click.echo(line)


@main.group()
def sim() -> None:
    """Simulators of outside systems, for demonstrations and tests."""


@sim.command("eimzo")
@click.option("--port", type=int, default=64_646, show_default=True)
@_plainly
def sim_eimzo(port: int) -> None:
    """Runs the E-IMZO program of a desk and the operator's service; prints the settings for it."""
    from dmed.apps.eimzo_sim import run

    run(_chosen().data / "eimzo-sim", port)


@main.command()
@click.option("--admin", default="admin", show_default=True, help="Sign-in name.")
@click.option("--name", default="", help="Name to show.")
@click.password_option(help="Asked for where it is not given.")
@_plainly
def init(admin: str, name: str, password: str) -> None:
    """Makes an empty installation with its first administrator."""
    from dmed.apps.accounts import initialise

    asyncio.run(initialise(_chosen(), admin, password, name))
    click.echo(f"The installation is ready; sign in as {admin}. Start it with: dmed serve")


_KEY_FILE = click.option(
    "--key-file", type=click.Path(dir_okay=False, path_type=Path),
    help="File of the backup key [DMED_BACKUP_KEY_FILE]; made where there is none.")
_PASSPHRASE = click.option("--passphrase", is_flag=True, help="Ask for a passphrase instead.")


@main.command()
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@_KEY_FILE
@_PASSPHRASE
@_plainly
def backup(file: Path, key_file: Path | None, passphrase: bool) -> None:
    """Writes the database and the keys into one encrypted file, while the platform runs.

    The key lies outside the installation and outside the backup. Keep a copy of it elsewhere:
    without it nobody can read the backup.
    """
    from dmed.apps.backup import backup as write
    from dmed.apps.backup import backup_key
    from dmed.kit.sealed import key_of_passphrase

    settings = _chosen()
    if passphrase:
        key = key_of_passphrase(click.prompt("Passphrase", hide_input=True,
                                             confirmation_prompt=True))
    else:
        key = backup_key(settings, key_file, click.echo)
    write(settings, file, key)
    click.echo(f"{file}: {file.stat().st_size:,} bytes, sealed with key {key.number}")


@main.command()
@click.argument("file", type=_FILE)
@_KEY_FILE
@_PASSPHRASE
@click.option("--check", is_flag=True, help="Only read the whole backup and tell what it holds.")
@_plainly
def restore(file: Path, key_file: Path | None, passphrase: bool, check: bool) -> None:
    """Puts a backup into an empty installation; one that holds records is refused.

    The file is read to its end and found authentic before anything is touched; at the end every
    table is compared with what the backup says it holds.
    """
    from dmed.apps import backup as backups

    settings = _chosen()
    key = (backups.passphrase_key(file, click.prompt("Passphrase", hide_input=True))
           if passphrase else backups.existing_key(settings, key_file))
    manifest = (backups.check(file, key) if check else backups.restore(settings, file, key))
    click.echo(f"{'sound' if check else 'restored'}: made {manifest.made},"
               f" {manifest.rows.get('resource', 0):,} records,"
               f" {sum(manifest.rows.values()):,} rows")


@main.command()
@_plainly
def upgrade() -> None:
    """Moves the data of an older embedded PostgreSQL to the present one (dump and restore)."""
    from dmed.apps.upkeep import upgrade as move

    move(_chosen())
    click.echo("upgraded")


@main.group()
def audit() -> None:
    """The audit: who did what, sealed so that a later change is found."""


@audit.command("verify")
@click.option("--since", default="", help="Only rows from this day or time (YYYY-MM-DD, UTC).")
@click.option("--roots", multiple=True, type=_FILE,
              help="Roots that were lodged outside: a file, or a folder of them.")
@click.option("--key", type=_FILE, help="Public key (PEM) instead of the installation's own.")
@_plainly
def audit_verify(since: str, roots: tuple[Path, ...], key: Path | None) -> None:
    """Finds rows that were edited, removed, added or moved, replaced seals, and a cut end.

    Prints each fault with its seal, then how much was verified; exit status 1 where there is one.
    """
    from dmed.apps.auditing import verify_audit

    sys.exit(0 if verify_audit(_chosen(), since=since, roots=roots, key=key) else 1)


@audit.command("seal")
@_plainly
def audit_seal() -> None:
    """Seals what no running server has sealed yet; a server does so every second."""
    from dmed.apps.auditing import seal_now

    seal_now(_chosen())


@audit.command("key")
@_plainly
def audit_key() -> None:
    """Prints the public key of the seals (PEM), for an auditor."""
    from dmed.apps.auditing import show_key

    click.echo(show_key(_chosen()), nl=False)


@audit.command("retire")
@click.argument("folder", type=_FOLDER)
@click.option("--keep", type=click.IntRange(1, 1200), help="Months kept [DMED_AUDIT_KEEP_MONTHS].")
@_plainly
def audit_retire(folder: Path, keep: int | None) -> None:
    """Exports sealed months older than those kept into FOLDER, then drops them."""
    from dmed.apps.auditing import retire

    retire(_chosen(), folder, months=keep)


@main.group()
def staff() -> None:
    """Staff: files of practitioners and posts."""


@staff.command("import")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@_plainly
def staff_import(file: Path) -> None:
    """Loads practitioners and posts from CSV or NDJSON; refused rows go to FILE.refused.csv.

    Columns: docs/reference/workforce.md. An interrupted import goes on where it stopped when it is
    called again; exit status 1 tells that rows were refused.
    """
    from dmed.apps.staff_import import run

    sys.exit(1 if run(_chosen(), file) else 0)


@main.command(hidden=True)
@_plainly
def docs() -> None:
    """Makes the generated parts of docs/reference anew."""
    from dmed.apps.reference import write_reference

    for path in write_reference(Path.cwd() / "docs" / "reference"):
        click.echo(os.fspath(path))


from dmed.apps import (  # noqa: E402  # They add their commands to `main`.
    analytics_cli,  # noqa: F401  # Same.
    facilities_cli,  # noqa: F401  # Same.
    fund_cli,  # noqa: F401  # Same.
    matching_cli,  # noqa: F401  # Same.
    persons_cli,  # noqa: F401  # Same.
    sims_cli,  # noqa: F401  # Same.
)

if __name__ == "__main__":
    main()
