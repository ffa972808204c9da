"""The module's own tables: lists made of the records, orders, staffing tables, counts, imports.

`staff_person`, `staff_post` and `staff_house` hold for lists what Practitioner, PractitionerRole
and Organization say; the records alone decide rights. Each row carries the version it was made of.
"""

from __future__ import annotations

DDL: tuple[str, ...] = (
    """create table if not exists staff_person (
        id text collate "C" primary key,
        vid bigint not null,
        name text not null,
        name_key text collate "C" not null,
        sex text collate "C" not null,
        born date,
        pinfl text collate "C" not null,
        argos text collate "C" not null,
        certificate_until date,
        certificate text not null,
        category_until date,
        licence_until date,
        active boolean not null
    )""",
    "create index if not exists staff_person_name on staff_person (name_key text_pattern_ops)",
    "create index if not exists staff_person_pinfl on staff_person (pinfl) where pinfl <> ''",
    "create index if not exists staff_person_argos on staff_person (argos) where argos <> ''",
    """create table if not exists staff_post (
        id text collate "C" primary key,
        vid bigint not null,
        practitioner text collate "C" not null,
        organisation text collate "C" not null,
        code text collate "C" not null,
        title text not null,
        rate numeric(4, 2) not null,
        kind text collate "C" not null,
        since date,
        until date,
        absences datemultirange not null,
        hours jsonb not null,
        licensed boolean not null,
        active boolean not null
    )""",
    "create index if not exists staff_post_house on staff_post (organisation, code) where active",
    "create index if not exists staff_post_person on staff_post (practitioner)",
    """create table if not exists staff_house (
        id text collate "C" primary key,
        vid bigint not null,
        name text not null,
        kind text collate "C" not null,
        region text collate "C" not null,
        parent text collate "C" not null,
        numbers text[] collate "C" not null,
        active boolean not null
    )""",
    "create index if not exists staff_house_region on staff_house (region)",
    """create table if not exists staff_follow (
        type text collate "C" primary key,
        since timestamptz not null,
        looked timestamptz not null
    )""",
    """create table if not exists staff_norm (
        organisation text collate "C" not null,
        code text collate "C" not null,
        title text not null,
        rates numeric(6, 2) not null check (rates >= 0),
        source text not null,
        maker text collate "C" not null,
        made timestamptz not null default now(),
        primary key (organisation, code)
    )""",
    """create table if not exists staff_order (
        number bigint generated always as identity primary key,
        act text collate "C" not null,
        practitioner text collate "C" not null,
        role text collate "C" not null,
        organisation text collate "C" not null,
        effective date not null,
        until date,
        paper text not null,
        words text not null,
        detail jsonb not null,
        maker text collate "C" not null,
        made timestamptz not null default now(),
        applied timestamptz
    )""",
    "create index if not exists staff_order_person on staff_order (practitioner, number desc)",
    "create index if not exists staff_order_due on staff_order (effective) where applied is null",
    """create table if not exists staff_activity (
        practitioner text collate "C" not null,
        role text collate "C" not null,
        month date not null,
        direction text collate "C" not null,
        done integer not null,
        counted timestamptz not null,
        primary key (practitioner, role, month, direction)
    )""",
)
