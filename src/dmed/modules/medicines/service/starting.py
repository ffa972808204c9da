"""The starting catalogue: files of this package, read once a process, kept as frozen objects."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal
from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable

import msgspec

from dmed.modules.medicines.model import Form, Inn, Preparation, Product
from dmed.modules.medicines.rules import starting as compact

PACKAGE = "dmed.modules.medicines"


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
def starting() -> Catalogue:
    """The starting catalogue of the package (some 150 ms at the first call): preparations with
    their usual doses, those of the compact files, and sample products.
    """
    inns = {row["key"]: Inn(**row) for row in rows(PACKAGE, "inns.tsv")}
    forms = {row["key"]: Form(**row) for row in rows(PACKAGE, "forms.tsv")}
    preparations = {
        row["key"]: _preparation(row, inns, forms) for row in rows(PACKAGE, "preparations.tsv")
    }
    told = frozenset(preparations)
    for group in sorted(files(PACKAGE).joinpath("data", "catalogue").iterdir(), key=_name):
        lines = group.read_text(encoding="utf-8").splitlines()
        for one in compact.preparations(lines, inns, forms):
            preparations.setdefault(one.key, one)
    for one in preparations.values():
        inns.setdefault(one.inn.key, one.inn)
    products = [_product(row, preparations) for row in rows(PACKAGE, "products.tsv")]
    first = len(products) + 1
    products += compact.products(preparations.values(), first, told)
    return assembled(inns, forms, preparations, products)


def _name(file: Traversable) -> str:
    return file.name


def _product(row: dict[str, str], preparations: Mapping[str, Preparation]) -> Product:
    preparation = preparations[row["preparation"]]
    return Product(
        key=row["key"], gtin=row["gtin"], trade=row["trade"], maker=row["maker"],
        registration=row["registration"], preparation=preparation,
        pack_units=Decimal(row["pack_units"]), stage=compact.stage_of(preparation),
        ikpu=f"00000{int(row['key'][3:]):012d}", shelf_months=36)  # fmt: skip  # One row.


def assembled(
    inns: Mapping[str, Inn], forms: Mapping[str, Form], preparations: Mapping[str, Preparation],
    products: Iterable[Product],
) -> Catalogue:
    """A catalogue of these, with its indexes."""
    by_key = {product.key: product for product in products}
    of_preparation: dict[str, list[Product]] = {key: [] for key in preparations}
    for product in by_key.values():
        of_preparation[product.preparation.key].append(product)
    return Catalogue(
        inns, forms, preparations, by_key,
        {product.gtin: product for product in by_key.values() if product.gtin},
        {
            key: tuple(sorted(group, key=lambda product: product.pack_units))
            for key, group in of_preparation.items()
        },
        {row["inn"]: row["words"] for row in rows(PACKAGE, "synonyms.tsv")},
    )  # fmt: skip  # One record.


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
