"""What trust keeps only for a while, and when it goes; docs/security/retention.md tells people.

Each class has its time here as data; the worker that keeps time removes what is over, once a
minute, a bounded number of rows at a time.
"""

from __future__ import annotations

from dmed.trust.tables import Connection

ROWS_MAX = 10_000
"""Most rows of a class that go at a time, so that no statement is long."""
ENDS: tuple[tuple[str, str], ...] = (
    ("page_session", "ends < now()"),
    ("sign_in_attempt", "seen < now() - interval '1 hour'"),
    ("sign_in_failure", "since < now() - interval '1 day'"),
    ("revoked_token", "ends < now()"),
    ("oauth_request", "ends < now()"),
    ("oauth_launch", "ends < now()"),
    ("oauth_family", "ends < now() - interval '1 day'"),
    ("oauth_jti", "ends < now()"),
    ("second_factor", "not is_confirmed and made < now() - interval '1 day'"),
    ("recovery", "at < now() - interval '1 year'"),
)
"""(table, what is over). Passwords of before are bounded by number, not by time: the last five."""


async def tidy(connection: Connection) -> int:
    """Removes what is over of every class; how many rows. Safe from several workers at once."""
    gone = 0
    for table, is_over in ENDS:
        tag = await connection.execute(
            f"delete from {table} where ctid = any (array(select ctid from {table}"  # noqa: S608  # Constants.
            f" where {is_over} limit {ROWS_MAX} for update skip locked))")
        gone += int(tag.split()[1])
    return gone
