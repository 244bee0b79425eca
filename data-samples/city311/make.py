#!/usr/bin/env python3
"""Writes four weeks of service requests of an invented city's 311 line, as its open-data API answers.

created/YYYY-MM-DD.json are the requests opened on that day, closed/YYYY-MM-DD.json those closed on it (with
what had become of them by then): one JSON array a file, every value a text, fields without a value left out.
The same content on every machine. Run `python3 data-samples/city311/make.py` after a change here.
"""

import json
import shutil
from datetime import date, datetime, time, timedelta
from pathlib import Path

HERE = Path(__file__).resolve().parent
FIRST = date(2024, 4, 15)
DAYS = 28
# From this day on the API has a column more.
COUNCIL_SINCE = date(2024, 5, 1)
# On these days nothing was closed: the answer is an empty list.
NOTHING_CLOSED = {date(2024, 4, 21), date(2024, 5, 5)}
FIRST_KEY = 61_000_001
# So many days before that only noise was counted, and by how many percent more in the months from January on.
DAYS_BEFORE = 560
SUMMER = [-40, -40, -20, 0, 20, 40, 50, 40, 20, 0, -30, -40]
# How those who kept that list, 200 days each, wrote whether a count is final.
YES_AND_NO = [("TRUE", "FALSE"), ("Y", "N"), ("yes", "no")]

# code, name in the answers, box of longitude and latitude, inhabitants in thousands, cities as people spell them
BOROUGHS = [
    ("BROOKLYN", (-74.02, 40.60, -73.88, 40.72), 30, ["BROOKLYN", "Brooklyn"]),
    ("QUEENS", (-73.92, 40.66, -73.73, 40.79), 26, ["JAMAICA", "Jamaica", "ASTORIA", "FLUSHING"]),
    ("MANHATTAN", (-74.01, 40.71, -73.94, 40.85), 20, ["NEW YORK", "New York"]),
    ("BRONX", (-73.92, 40.81, -73.80, 40.90), 18, ["BRONX"]),
    ("STATEN ISLAND", (-74.20, 40.54, -74.07, 40.63), 5, ["STATEN ISLAND"]),
    ("Unspecified", None, 1, ["UNKNOWN", "NA", "nan"]),
]
STREETS = ["ALDER", "BIRCHWOOD", "CEDAR", "DOCKYARD", "ELMHURST", "FERRY", "GRANGE", "HARBOR", "IRONWORKS", "JUNIPER"]
KINDS = ["STREET", "AVENUE", "PLACE", "ROAD"]

# agency, its name, weight, midnight only?, [(complaint, descriptor, location type)], hours until closed (typical)
AGENCIES = [
    ("NYPD", "New York City Police Department", 42, False, [
        ("Noise - Residential", "Loud Music/Party", "Residential Building/House"),
        ("Noise - Residential", "Banging/Pounding", "Residential Building/House"),
        ("Noise - Street/Sidewalk", "Loud Talking", "Street/Sidewalk"),
        ("Noise - Commercial", "Loud Music/Party", "Club/Bar/Restaurant"),
        ("Noise - Vehicle", "Car/Truck Horn", "Street/Sidewalk"),
        ("Noise - Park", "Loud Music/Party", "Park/Playground"),
        ("Illegal Parking", "Blocked Hydrant", "Street/Sidewalk"),
    ], 3),
    ("HPD", "Department of Housing Preservation and Development", 27, True, [
        ("HEAT/HOT WATER", "ENTIRE BUILDING", "RESIDENTIAL BUILDING"),
        ("PLUMBING", "WATER-LEAKS", "RESIDENTIAL BUILDING"),
        ("PAINT - PLASTER", "CEILING", "RESIDENTIAL BUILDING"),
    ], 170),
    ("DOT", "Department of Transportation", 10, False, [
        ("Street Condition", "Pothole", "Street"),
        ("Street Light Condition", "Street Light Out", None),
    ], 60),
    ("DSNY", "Department of Sanitation", 10, False, [
        ("Missed Collection (All Materials)", "1 Missed Collection", "Sidewalk"),
        ("Graffiti", "Graffiti", "Residential"),
    ], 40),
    ("DOHMH", "Department of Health and Mental Hygiene", 6, True, [
        ("Rodent", "Rat Sighting", "3+ Family Apt. Building"),
        ("Rodent", "Mouse Sighting", "Other (Explain Below)"),
    ], 240),
    ("DPR", "Department of Parks and Recreation", 5, False, [
        ("Damaged Tree", "Branch or Limb Has Fallen Down", "Street"),
    ], 200),
]
# Chances of a request on the days Monday to Sunday: people complain about noise at weekends.
NOISE_BY_DAY = [70, 65, 70, 80, 130, 190, 160]


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

    def one_in(self, n):
        return self.below(n) == 0

    def of(self, items):
        return items[self.below(len(items))]

    def weighted(self, items, weight):
        at = self.below(sum(weight(item) for item in items))
        for item in items:
            at -= weight(item)
            if at < 0:
                return item
        raise AssertionError("weights do not add up")


def stamp(moment):
    return moment.strftime("%Y-%m-%dT%H:%M:%S.000")


def request(random, key, day):
    """One request as it is on the evening of its day, and the hours until it is closed."""
    agency, agency_name, _, midnight, topics, hours = random.weighted(
        AGENCIES, lambda a: a[2] * (NOISE_BY_DAY[day.weekday()] if a[0] == "NYPD" else 100))
    complaint, descriptor, place = random.of(topics)
    borough, box, _, cities = random.weighted(BOROUGHS, lambda b: b[2])
    created = datetime.combine(day, time())
    if not midnight:
        created += timedelta(seconds=random.below(86_400))
    row = {
        "unique_key": str(key),
        "created_date": stamp(created),
        "agency": agency,
        "agency_name": agency_name,
        "complaint_type": complaint,
        "descriptor": descriptor,
    }
    if place:
        row["location_type"] = place
    if box:
        street = f"{random.of(STREETS)} {random.of(KINDS)}"
        west, south, east, north = box
        # Thousandths of a degree, five digits behind the point.
        longitude = west + (east - west) * random.below(1000) / 1000
        latitude = south + (north - south) * random.below(1000) / 1000
        zip_code = 10001 + random.below(1690)
        x = round(1_000_000 + (longitude + 73.95) * 277_000)
        y = round(190_000 + (latitude - 40.7) * 364_000)
        row |= {
            "incident_zip": str(zip_code) if not random.one_in(9) else f"{zip_code}.0",
            # As it is typed in: house numbers and streets with any number of spaces between.
            "incident_address": f"{1 + random.below(900)} {'  ' * random.below(2)}{street}",
            "street_name": street,
            "cross_street_1": f"{random.of(STREETS)} {random.of(KINDS)}",
            "cross_street_2": f"{STREETS[key % 10]} {KINDS[key % 4]}",
            "address_type": "ADDRESS" if not random.one_in(6) else "INTERSECTION",
            "city": random.of(cities),
            "x_coordinate_state_plane": str(x) if not random.one_in(12) else f"{x}.0",
            "y_coordinate_state_plane": str(y),
            "latitude": f"{latitude:.5f}",
            "longitude": f"{longitude:.5f}",
            "location": {
                "latitude": f"{latitude:.5f}",
                "longitude": f"{longitude:.5f}",
                "human_address": '{"address": "", "city": "", "state": "", "zip": ""}',
            },
        }
        if random.one_in(3):
            row["bbl"] = f"{1 + random.below(5)}{random.below(10**5):05}{random.below(10**4):04}"
            if random.one_in(5):
                row["bbl"] = f"{int(row['bbl']) / 1e9:.9f}E9"
    else:
        row |= {"incident_zip": random.of(["N/A", "*", "XXXXX", ""]), "city": random.of(cities)}
    row |= {
        "facility_type": random.of(["N/A", "N/A", "Precinct", "n/a"]),
        "status": "In Progress" if agency != "NYPD" else "Assigned",
        "community_board": "0 Unspecified" if not box else f"{1 + random.below(12):02} {borough}",
        "borough": borough,
        "open_data_channel_type": random.of(["MOBILE", "ONLINE", "PHONE", "UNKNOWN"]),
        "park_facility_name": "Unspecified",
        "park_borough": borough,
        "resolution_action_updated_date": stamp(created + timedelta(hours=1)),
    }
    if agency in ("HPD", "DOHMH"):
        row["due_date"] = stamp(created + timedelta(days=30, hours=10))
    if random.one_in(40):
        row["due_date"] = "1900-01-02T00:00:00.000"
    if random.one_in(60):
        row["landmark"] = random.of(["CITY HALL", "."])
    if random.one_in(70):
        row["intersection_street_1"] = random.of(["nan", "FERRY ROAD"])
    if day >= COUNCIL_SINCE and box:
        row["council_district"] = str(1 + random.below(51))
    hours_open = max(1, hours * (30 + random.below(200)) // 100)
    return row, created, hours_open


def closed(random, row, moment):
    """The same request when it is closed."""
    row = dict(row)
    row["status"] = "Closed"
    row["closed_date"] = stamp(moment)
    row["resolution_action_updated_date"] = stamp(moment)
    row["resolution_description"] = random.of([
        "The department inspected the condition and took action.",
        "The department responded, and those responsible were gone.",
        "The request is a duplicate   of another one.",
        "NaN",
    ])
    return row


def noise_before():
    """What was counted before the line published its requests: noise by day and borough. More at weekends, as in the
    requests themselves, and in summer; which is what can be learned from it. Some first counts, made in the evening
    and too low, were left in the list above the final ones."""
    random = Random(312)
    boroughs = sorted((name.lower(), weight) for name, _, weight, _ in BOROUGHS)
    with (HERE / "noise_before.csv").open("w", encoding="utf-8", newline="\n") as file:
        file.write("day,borough,cases,is_final\n")
        for n in range(DAYS_BEFORE, 0, -1):
            day = FIRST - timedelta(days=n)
            summer = 100 + SUMMER[day.month - 1]
            yes, no = YES_AND_NO[n // 200]
            for borough, weight in boroughs:
                # Of 10,000 chances of a complaint; four complaints a day in the city, on average.
                mean = 4 * weight * NOISE_BY_DAY[day.weekday()] * summer // 109
                cases = sum(random.below(1_000_000) < mean for _ in range(100))
                if (n + weight) % 60 == 0:
                    file.write(f"{day},{borough},{cases // 2},{no}\n")
                file.write(f"{day},{borough},{cases},{yes}\n")
    # A city that has none: only the names of the columns.
    (HERE / "noise_before_none.csv").write_text("day,borough,cases,is_final\n", encoding="utf-8", newline="\n")


def main():
    random = Random(311)
    created_on = {FIRST + timedelta(days=n): [] for n in range(DAYS)}
    closed_on = {day: [] for day in created_on}
    last = FIRST + timedelta(days=DAYS - 1)
    key = FIRST_KEY
    for day in created_on:
        for _ in range(7 + random.below(5) + (3 if day.weekday() >= 4 else 0)):
            row, created, hours = request(random, key, day)
            key += 1
            moment = created + timedelta(hours=hours)
            while moment.date() in NOTHING_CLOSED:
                moment += timedelta(days=1)
            if moment.date() == day:
                # Both feeds have it: it was closed on the day on which it was opened.
                row = closed(random, row, moment)
                closed_on[day].append(row)
            elif moment.date() <= last:
                closed_on[moment.date()].append(closed(random, row, moment))
            created_on[day].append(row)

    # What people's and machines' mistakes look like, each in its place.
    def spoil(day, index, **fields):
        created_on[FIRST + timedelta(days=day)][index] |= fields

    # Nothing that is heard of them later puts these right.
    at_last = stamp(datetime.combine(last, time(23)))
    spoil(1, 0, status="Closed", closed_date="1900-01-01T00:00:00.000", resolution_action_updated_date=at_last)
    spoil(4, 1, status="Closed", closed_date="2100-01-01T00:00:00.000", resolution_action_updated_date=at_last)
    spoil(6, 2, status="Closed", closed_date=stamp(datetime.combine(FIRST + timedelta(days=3), time(12))),
          resolution_action_updated_date=at_last)
    spoil(9, 0, complaint_type="../../WEB-INF/web.xml;x=")
    spoil(10, 3, complaint_type="ZTESTINT", descriptor="NaN")
    spoil(12, 1, agency_name="  Department  of Transportation ", city="Brooklyn ")
    spoil(15, 2, vehicle_type="Car Service", taxi_company_borough="QUEENS", taxi_pick_up_location="Other")
    spoil(17, 1, bridge_highway_name="BQE", bridge_highway_direction="East", road_ramp="Roadway",
          bridge_highway_segment="Exit 31")
    spoil(20, 0, created_date=stamp(datetime.combine(FIRST + timedelta(days=20), time(23, 59, 59))).replace(".000", ".999"))

    # And what the real feeds have seldom, each on a request of which nothing more is heard: what stands there stays.
    heard_of = {row["unique_key"] for rows in closed_on.values() for row in rows}
    quiet = (row for rows in created_on.values() for row in rows if row["unique_key"] not in heard_of)
    for fields in [
        {"incident_zip": "*"},
        {"city": "NA"},
        {"city": "NEWARK", "incident_zip": "07102"},  # in another state
        {"cross_street_2": "nan"},
        {"intersection_street_1": "FERRY ROAD", "intersection_street_2": "ALDER  STREET"},
        {"address_type": "BLOCKFACE"},
        {"address_type": "PLACENAME"},
        {"address_type": "LATLONG"},
        {"facility_type": "Na"},
        {"open_data_channel_type": "OTHER"},
        {"due_date": "nan"},
        {"due_date": "2001-02-03T04:05:06.000"},
        {"due_date": "2100-01-01T00:00:00.000"},
        *({"status": status} for status in ["Open", "Pending", "Started", "Email Sent", "Unassigned", "Unspecified"]),
        {"status": "Closed - Testing"},
        {"status": "Closed", "closed_date": "1899-12-31T19:00:00.000"},  # 1900 in UTC
        {"status": "Closed", "closed_date": "2009-12-31T23:59:59.000"},
        # Not a year that comes while somebody may still run this.
        {"status": "Closed", "closed_date": "2099-06-01T00:00:00.000"},
        {"resolution_action_updated_date": "1900-01-01T00:00:00.000"},
        {"resolution_action_updated_date": "2001-02-03T04:05:06.000"},
        {"resolution_action_updated_date": "2099-06-01T00:00:00.000"},
    ]:
        next(quiet).update(fields)

    # Two that were closed now and opened when the line did not exist, or will be.
    for day, key, created in ((5, 1_000_001, "2001-02-03T04:05:06.000"), (19, 99_000_001, "2099-01-01T00:00:00.000")):
        row, _, _ = request(random, key, FIRST + timedelta(days=day))
        moment = datetime.combine(FIRST + timedelta(days=day), time(9))
        closed_on[moment.date()].append(closed(random, row | {"created_date": created}, moment))

    # What was there once must not stay: a day may be taken out above.
    for feed, days in (("created", created_on), ("closed", closed_on)):
        folder = HERE / feed
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        for day, rows in days.items():
            lines = ",\n".join(json.dumps(row, ensure_ascii=False, separators=(",", ":")) for row in rows)
            (folder / f"{day}.json").write_text(f"[{lines}]\n", encoding="utf-8", newline="\n")
    noise_before()
    print(f"{sum(map(len, created_on.values()))} created, {sum(map(len, closed_on.values()))} closed")


if __name__ == "__main__":
    main()
