"""How fast the national feed is taken over: `python bench/persons_feed.py --persons 20000`.

Makes a file of invented persons (one in a hundred lines is bad), imports it into a new embedded
database in a temporary folder with two processes, then the same persons as changes (a tenth of
them moved), and prints lines a second of both and the processor time of making one card.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from datetime import date, timedelta
from pathlib import Path

from dmed.apps.persons_feed import Making, import_persons, shape_of
from dmed.apps.sources import Item
from dmed.kit.settings import Settings
from dmed.modules.medid.rules import compose_pinfl

HEAD = "pinfl,family,given,patronymic,birth_date,sex,phone,region,district,address,passport"
NAMES = ("Anvar", "Botir", "Jasur", "Karim", "Otabek", "Rustam", "Sardor", "Temur", "Ulug‘bek")


def line(number: int, *, is_moved: bool = False) -> str:
    """One person; of a hundred one has another sex than the PINFL."""
    born = date(1940, 1, 1) + timedelta(days=number % 29_000)
    serial = number // 29_000
    pinfl = compose_pinfl(born, "male", serial // 1000, serial % 1000)
    sex = "f" if number % 100 == 99 else "m"
    place = f"{number}-uy" + (" (yangi)" if is_moved else "")
    return (f"{pinfl},{NAMES[number % 9]}ov{'aeiou'[number % 5]},{NAMES[number // 9 % 9]},"
            f"{NAMES[number // 81 % 9]} o‘g‘li,{born},{sex},+99890{number % 10**7:07d},1726,"
            f"1726266,{place},AA{number % 10**7:07d}")


def main() -> None:
    """Run it and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--persons", type=int, default=20_000)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="dmed-feed-") as folder:
        first, night = Path(folder) / "first.csv", Path(folder) / "night.csv"
        first.write_text("\n".join([HEAD, *(line(one) for one in range(asked.persons)), ""]))
        some = min(asked.persons, 2_000)
        night.write_text("\n".join(
            [HEAD, *(line(one, is_moved=one % 10 == 0) for one in range(some)), ""]))
        making = Making(shape_of(first))
        items = [Item("", line(one).encode()) for one in range(500) if one % 100 != 99]
        began = time.process_time()
        for item in items:
            making(item)
        spent = (time.process_time() - began) / len(items)
        settings = Settings(data=Path(folder) / "data")
        loaded = import_persons(settings, first, changes=False)
        changed = import_persons(settings, night, changes=True)
    sys.stdout.write(
        f"a card {spent * 1e6:,.0f} us of processor time; first load of {asked.persons:,} "
        f"lines {asked.persons / loaded.seconds:,.0f}/s ({loaded.new:,} new, "
        f"{loaded.refused:,} refused); "
        f"changes of {some:,} lines {some / changed.seconds:,.0f}/s "
        f"({changed.changed:,} changed)\n")


if __name__ == "__main__":
    main()
