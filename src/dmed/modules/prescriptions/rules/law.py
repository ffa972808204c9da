"""The law's rules that no medicine table knows: forbidden classes, names instead of INN, the
commission's decision, limits of reimbursement (shared design, eprescription 0).

Cabinet Resolution 570 of 8 Sep 2025, as reported; each table names its source and is a draft.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any

from dmed.modules.medicines.api import Preparation, Product
from dmed.modules.prescriptions.model import INN_EXCEPTIONS, Alert, Draft, Reason, Tier
from dmed.modules.prescriptions.rules.tables import Table, table


def check(
    draft: Draft,
    preparations: Mapping[str, Preparation],
    products: Mapping[str, Product],
) -> list[Alert]:
    """What the law says against a draft; `products` holds the named products that are on the
    market. Each finding is a stop: no reason leads past the law.
    """
    found = [*_forbidden(draft, preparations), *_names(draft, products), *_limits(draft)]
    return sorted(found, key=lambda alert: (alert.item, alert.rule))


def _forbidden(draft: Draft, preparations: Mapping[str, Preparation]) -> Iterator[Alert]:
    of = table("law_classes")
    for index, item in enumerate(draft.items):
        known = preparations.get(item.preparation)
        for row in of.rows:
            if known is not None and known.atc.startswith(row["atc"]):
                yield _alert("forbidden-class", index, f"Item {index + 1}: {row['note']}", of,
                             inn=known.inn.key)  # fmt: skip  # One finding.


def _names(draft: Draft, products: Mapping[str, Product]) -> Iterator[Alert]:
    for index, item in enumerate(draft.items):
        if not item.product:
            continue
        where = f"Item {index + 1}"
        product = products.get(item.product)
        if product is None or product.preparation.key != item.preparation:
            yield _alert("brand-unknown", index,
                         f"{where}: the named product is not registered for this preparation")
        elif item.exception not in INN_EXCEPTIONS:
            yield _alert(
                "brand-reason", index,
                f"{where}: medicines are prescribed by INN; a trade name needs one of the reasons "
                f"{', '.join(INN_EXCEPTIONS)}",
                trade=product.trade,
            )  # fmt: skip  # One finding.


def _limits(draft: Draft) -> Iterator[Alert]:
    of = table("law_limits")
    for row in of.rows:
        if row["class"] != draft.validity_class:
            continue
        for index, item in enumerate(draft.items):
            days = item.duration_days * draft.repeats
            if days > int(row["days_max"]):
                yield _alert(
                    "reimbursed-days", index,
                    f"Item {index + 1}: {days} days; at most {row['days_max']} are reimbursed", of,
                    days=str(days), most=row["days_max"],
                )  # fmt: skip  # One finding.
        if len(draft.items) > int(row["items_max"]):
            yield _alert("reimbursed-items", -1,
                         f"At most {row['items_max']} medicines are reimbursed at once", of,
                         most=row["items_max"])  # fmt: skip  # Same.


def fund_percent(request: Mapping[str, Any]) -> Decimal:
    """What the fund pays of the price of an item, in percent; 0 where no insurance pays for it."""
    if not request.get("insurance"):
        return Decimal(0)
    row = next(each for each in table("law_limits").rows if each["class"] == "reimbursed")
    return Decimal(row["percent"])


def _alert(
    rule: str, item: int, sentence: str, of: Table | None = None, /, **values: str
) -> Alert:
    return Alert(
        rule=rule, tier=Tier.STOP, item=item,
        reason=Reason(f"prescriptions.alert.{rule.replace('-', '_')}", values),
        owner=of.owner if of else "dmed", version=of.version if of else "",
        source=of.source if of else "", is_draft=of.is_draft if of else False, sentence=sentence,
    )  # fmt: skip  # One finding.
