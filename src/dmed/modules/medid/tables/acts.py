"""Merges, the review queue and the national feed: ledgers beside the records.

person_merge   one row a merge: which card was merged into which, by whom and why, what it brought
               (exact values, so that undoing takes away these and nothing else), and when it was
               undone. The standing rows are the truth; the links of the cards say the same.
person_review  pairs of cards that may be one person's, for a registrar to decide.
person_feed    lines of the national feed that were refused, or that a person must look at.
person_feed_part  parts of a feed file that were taken over: a killed run goes on behind them.
"""

from __future__ import annotations

DDL: tuple[str, ...] = (
    """create table if not exists person_merge (
        number bigint generated always as identity primary key,
        source text collate "C" not null,
        target text collate "C" not null,
        brought jsonb not null,
        taken jsonb not null,
        reason text not null,
        account text collate "C" not null,
        name text not null,
        at timestamptz not null default now(),
        undone timestamptz,
        undone_by text not null default '',
        undone_reason text not null default ''
    )""",
    ("create unique index if not exists person_merge_source on person_merge (source)"
    " where undone is null"),
    ("create index if not exists person_merge_target on person_merge (target)"
    " where undone is null"),
    "create index if not exists person_merge_all on person_merge (source, target)",
    """create table if not exists person_review (
        number bigint generated always as identity primary key,
        first text collate "C" not null,
        second text collate "C" not null,
        origin text collate "C" not null,
        weight numeric not null,
        detail jsonb not null default '{}',
        at timestamptz not null default now(),
        verdict text collate "C" not null default '',
        reviewer text collate "C" not null default '',
        reason text not null default '',
        reviewed timestamptz,
        unique (first, second)
    )""",
    ("create index if not exists person_review_open on person_review (weight desc, number)"
    " where verdict = ''"),
    """create table if not exists person_feed (
        digest text collate "C" not null,
        line bigint not null,
        kind text collate "C" not null,
        patient text collate "C" not null default '',
        reasons jsonb not null,
        raw text not null,
        at timestamptz not null default now(),
        settled timestamptz,
        primary key (digest, line)
    )""",
    """create table if not exists person_feed_part (
        digest text collate "C" not null,
        line bigint not null,
        counts jsonb not null,
        primary key (digest, line)
    )""",
    "create index if not exists person_feed_open on person_feed (at) where settled is null",
)
