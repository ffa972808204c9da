"""The person index's own tables, one file a matter: `DDL` collects their statements."""

from __future__ import annotations

from dmed.modules.medid.tables import acts

DDL: tuple[str, ...] = (*acts.DDL,)
