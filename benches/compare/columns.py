"""The columns of the job, once for all engines. In the input every value is a string."""

NUMBERS = {
    "unique_key": "BIGINT",
    "x_coordinate_state_plane": "BIGINT",
    "y_coordinate_state_plane": "BIGINT",
    "latitude": "DOUBLE",
    "longitude": "DOUBLE",
}
TIMES = ["created_date", "closed_date", "due_date", "resolution_action_updated_date"]
TEXTS = [
    "agency", "agency_name", "complaint_type", "descriptor", "location_type", "incident_zip",
    "incident_address", "street_name", "cross_street_1", "cross_street_2", "intersection_street_1",
    "intersection_street_2", "address_type", "city", "landmark", "facility_type", "status",
    "resolution_description", "community_board", "bbl", "borough", "open_data_channel_type",
    "park_facility_name", "park_borough", "vehicle_type", "taxi_company_borough",
    "taxi_pick_up_location", "bridge_highway_name", "bridge_highway_direction", "road_ramp",
    "bridge_highway_segment",
]
ALL = [*NUMBERS, *TIMES, *TEXTS]

# What people type for "nothing", in lower case.
NULLS = ["", "n/a", "nan", "na"]


def typed_sql(table):
    """The cleaning step as SQL that DuckDB and Lagar both read: numbers and times typed, text trimmed, in lower case."""
    columns = [f"TRY_CAST({name} AS {kind}) AS {name}" for name, kind in NUMBERS.items()]
    columns += [f"TRY_CAST({name} AS TIMESTAMP) AS {name}" for name in TIMES]
    for name in TEXTS:
        text = f"lower(trim({name}))"
        for null in NULLS:
            text = f"nullif({text}, '{null}')"
        columns.append(f"{text} AS {name}")
    return "SELECT\n    " + ",\n    ".join(columns) + f"\nFROM {table}"


# Of two rows of a key the one with the higher values is newer; so many columns that two are hardly ever alike.
KEY = "unique_key"
NEWER = ["resolution_action_updated_date", "closed_date", "due_date", "x_coordinate_state_plane", "latitude"]


def newest_sql(query):
    """The newest row of each key of `query`, as SQL that DuckDB and Lagar both read."""
    order = ", ".join(f"{name} DESC NULLS LAST" for name in NEWER)
    return f"""SELECT {", ".join(ALL)} FROM (
    SELECT *, row_number() OVER (PARTITION BY {KEY} ORDER BY {order}) AS place FROM (
{query}
    ) AS typed
) AS placed WHERE place = 1"""


def cleaned_sql(table, dedupe):
    """The whole first step."""
    return newest_sql(typed_sql(table)) if dedupe else typed_sql(table)


def aggregate_sql(table):
    """The second step: one row a borough and complaint."""
    return f"""SELECT
    borough,
    complaint_type,
    count(*) AS requests,
    count(closed_date) AS closed,
    min(created_date) AS first_created,
    max(created_date) AS last_created,
    CAST(sum(x_coordinate_state_plane) AS BIGINT) AS x_sum,
    avg(latitude) AS latitude_mean
FROM {table}
GROUP BY borough, complaint_type"""
