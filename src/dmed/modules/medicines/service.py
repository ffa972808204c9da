"""The catalogue: files of this package, read once a process and kept as frozen objects."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from decimal import Decimal
from functools import cache
from importlib.resources import files

import msgspec

from dmed.kit.errors import NotFoundError
from dmed.modules.medicines.model import Form, Inn, Preparation, Product


class Catalogue(msgspec.Struct, frozen=True):
    """Everything registered, by key; orders are those of the files."""

    inns: Mapping[str, Inn]
    forms: Mapping[str, Form]
    preparations: Mapping[str, Preparation]
    products: Mapping[str, Product]
    by_gtin: Mapping[str, Product]
    by_preparation: Mapping[str, tuple[Product, ...]]
    synonyms: Mapping[str, str]
    """INN key -> household words."""


def rows(package: str, name: str) -> Iterator[dict[str, str]]:
    """Rows of a tab-separated file in a package's data folder: lines of `#` are comments, the
    first other line names the columns. A ragged row is a ValueError that names it.
    """
    text = files(package).joinpath("data", name).read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    columns = lines[0].split("\t")
    for line in lines[1:]:
        yield dict(zip(columns, line.split("\t"), strict=True))


@cache
def catalogue() -> Catalogue:
    """The whole catalogue (some 5 ms at the first call)."""
    package = "dmed.modules.medicines"
    inns = {row["key"]: Inn(**row) for row in rows(package, "inns.tsv")}
    forms = {row["key"]: Form(**row) for row in rows(package, "forms.tsv")}
    preparations = {
        row["key"]: _preparation(row, inns, forms) for row in rows(package, "preparations.tsv")
    }
    products: dict[str, Product] = {}
    of_preparation: dict[str, list[Product]] = {key: [] for key in preparations}
    for row in rows(package, "products.tsv"):
        product = Product(
            key=row["key"],
            gtin=row["gtin"],
            trade=row["trade"],
            maker=row["maker"],
            registration=row["registration"],
            preparation=preparations[row["preparation"]],
            pack_units=Decimal(row["pack_units"]),
        )
        products[product.key] = product
        of_preparation[product.preparation.key].append(product)
    return Catalogue(
        inns,
        forms,
        preparations,
        products,
        {product.gtin: product for product in products.values()},
        {
            key: tuple(sorted(group, key=lambda product: product.pack_units))
            for key, group in of_preparation.items()
        },
        {row["inn"]: row["words"] for row in rows(package, "synonyms.tsv")},
    )


def _preparation(
    row: dict[str, str], inns: Mapping[str, Inn], forms: Mapping[str, Form]
) -> Preparation:
    return Preparation(
        key=row["key"],
        inn=inns[row["inn"]],
        form=forms[row["form"]],
        atc=row["atc"],
        strength=Decimal(row["strength"]),
        strength_unit=row["strength_unit"],
        per=Decimal(row["per"]),
        per_unit=row["per_unit"],
        strength_text=row["strength_text"],
        dose_per_unit=Decimal(row["dose_per_unit"]),
        prescription_only=row["rx"] == "R",
        antibiotic=row["antibiotic"] == "A",
        default_dose=Decimal(row["default_dose"]),
        default_times=int(row["default_times"]),
        default_days=int(row["default_days"]),
    )


def find_inn(key: str) -> Inn:
    """The INN of a key, or NotFoundError."""
    found = catalogue().inns.get(key)
    if found is None:
        raise NotFoundError(f"No INN {key!r} in the register of medicines")
    return found


def find_preparation(key: str) -> Preparation:
    """The preparation of a key, or NotFoundError."""
    found = catalogue().preparations.get(key)
    if found is None:
        raise NotFoundError(f"No preparation {key!r} in the register of medicines")
    return found


def find_product(key: str) -> Product:
    """The product of a registration key or a GTIN-14, or NotFoundError."""
    entries = catalogue()
    found = entries.products.get(key) or entries.by_gtin.get(key)
    if found is None:
        raise NotFoundError(f"No product {key!r} in the register of medicines")
    return found
