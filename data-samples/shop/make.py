#!/usr/bin/env python3
"""Writes cities.csv and shop.db beside this file, always with the same content.

The API answers under api/ are edited by hand. The other two are not text that a person edits with
pleasure: a Latin-1 file and a database. Run `python3 data-samples/shop/make.py` after a change here.
"""

import csv
import io
import os
import sqlite3
from datetime import datetime, timedelta
from pathlib import Path

HERE = Path(__file__).resolve().parent

# Rounded figures, good for a sample and for nothing else. One population is not known, and one name
# has the delimiter in it.
CITIES = [
    # id, name, region, population, founded, latitude, longitude
    (1, "Medellín", "Andina", 2612000, "02/11/1675", "6,2442", "-75,5812"),
    (2, "Itagüí", "Andina", 289000, "24/12/1743", "6,1719", "-75,6114"),
    (3, "Bucaramanga", "Andina", 614000, "22/12/1622", "7,1254", "-73,1198"),
    (4, "Cúcuta; San José", "Andina", 777000, "17/06/1733", "7,8939", "-72,5078"),
    (5, "Barranquilla", "Caribe", 1274000, "07/04/1813", "10,9639", "-74,7964"),
    (6, "Montería ", "Caribe", 505000, "01/05/1777", "8,7479", "-75,8814"),
    (7, "Sincelejo", "Caribe", 277000, "21/11/1775", "9,3047", "-75,3978"),
    (8, "Manizales", "Eje Cafetero", 454000, "12/10/1849", "5,0689", "-75,5174"),
    (9, "Pereira", "Eje Cafetero", 481000, "30/08/1863", "4,8133", "-75,6961"),
    (10, "Armenia", "Eje Cafetero", 309000, "14/10/1889", "4,5339", "-75,6811"),
    (11, "Leticia", "Amazonía", 53000, "25/04/1867", "-4,2153", "-69,9406"),
    (12, "Quibdó", "Pacífica", None, "01/01/1690", "5,6919", "-76,6583"),
]

ORDERS = 60
# Only ids that the public FakeStore API has too, so that the project also runs against it.
USERS = 10
PRODUCTS = 20
PRICES = [39.90, 64, 79.50, 24.95, 18, 52.30, 89, 47.75, 68.40, 21,
          34.99, 15.50, 120, 249.90, 42.99, 99, 279, 129.49, 84.50, 37]
# As several clerks typed them.
STATUSES = ["delivered", "shipped", "Delivered", "paid", "delivered ", "CANCELLED"]


class Random:
    """splitmix64: the same numbers on every machine and Python."""

    def __init__(self, seed):
        self.state = seed

    def below(self, limit):
        mask = (1 << 64) - 1
        self.state = (self.state + 0x9E3779B97F4A7C15) & mask
        z = self.state
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & mask
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & mask
        return (z ^ (z >> 31)) % limit


def cities():
    text = io.StringIO()
    writer = csv.writer(text, delimiter=";", lineterminator="\r\n")
    writer.writerow(["id", "name", "region", "population", "founded", "latitude", "longitude"])
    for row in CITIES:
        writer.writerow("" if value is None else value for value in row)
    return text.getvalue().encode("latin-1")


def orders():
    random = Random(20240301)
    at = datetime(2024, 3, 1, 8, 0, 0)
    for number in range(1, ORDERS + 1):
        at += timedelta(minutes=97 + random.below(2400), seconds=random.below(60))
        product = 1 + random.below(PRODUCTS)
        # Sold at the list price or 5, 10, 15 % below it, in whole cents.
        cents = round(PRICES[product - 1] * 100) * (100 - 5 * random.below(4)) // 100
        updated = at + timedelta(minutes=5 + random.below(4000))
        if number == 37:  # a clock that was set back: trusted.orders warns about it
            updated = at - timedelta(minutes=3)
        # Nobody in city 12 has ordered yet.
        yield (number, 1 + random.below(USERS), 1 + random.below(len(CITIES) - 1), product,
               1 + random.below(4), f"{cents / 100:.2f}", at.isoformat(" "), updated.isoformat(" "),
               STATUSES[random.below(len(STATUSES))])


def database(path):
    path.unlink(missing_ok=True)
    db = sqlite3.connect(path)
    db.executescript(
        """
        PRAGMA page_size = 1024;
        CREATE TABLE orders (
            id INTEGER PRIMARY KEY,
            user_id INTEGER NOT NULL,
            city_id INTEGER NOT NULL,
            product_id INTEGER NOT NULL,
            quantity INTEGER NOT NULL,
            unit_price DECIMAL(10,2) NOT NULL,
            ordered_at DATETIME NOT NULL,
            updated_at DATETIME NOT NULL,
            status VARCHAR(20) NOT NULL
        );
        """
    )
    db.executemany("INSERT INTO orders VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", orders())
    db.commit()
    db.execute("VACUUM")
    db.close()


def main():
    (HERE / "cities.csv").write_bytes(cities())
    database(HERE / "new.db")
    os.replace(HERE / "new.db", HERE / "shop.db")


if __name__ == "__main__":
    main()
