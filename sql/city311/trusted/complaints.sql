-- Every request once, as it was last heard of: opened by the feed of its day, updated by the feed of the day on
-- which it was closed. Texts are in lower case, without doubled spaces, and null where somebody wrote a word for
-- nothing.
--
-- Left out is what `lagar profile raw.complaints_created --suggest` found hardly ever filled or always the same on
-- four weeks (bridges, taxis, landmark, intersection_street_1, vehicle_type, park_facility_name), location and
-- park_borough, which say what other columns say, and council_district, which began in May. What is filled
-- only when a request is closed, or by some agencies, stays.
/*---
materialize: merge
key: [unique_key]
latest_by: [resolution_updated_at, closed_at]
incremental: [raw.complaints_created, raw.complaints_closed]
tags: [daily]
checks:
  - rows > 0
  - not_null: [created_at, created_day, agency, complaint_type]
  - {name: known_borough, accepted: {borough: [bronx, brooklyn, manhattan, queens, staten island, unspecified]}}
  - {name: zip_is_text_of_five_digits, sql: "regexp_like(incident_zip, '^[0-9]{5}$')"}
  - {name: no_word_for_nothing, sql: "lower(city) NOT IN ('nan', 'n/a', 'na', '')", severity: warn}
  - {name: opened_since_2010, sql: "created_at >= TIMESTAMPTZ '2010-01-01T05:00:00Z'", severity: drop}
  - {name: opened_before_it_was_loaded, sql: "created_at <= loaded_at", severity: drop}
  - {name: closed_before_opened, sql: "closed_flag IS DISTINCT FROM 'before opened'", severity: warn}
  - {name: closed_is_a_placeholder, sql: "closed_flag IS DISTINCT FROM 'placeholder'", severity: warn}
---*/
WITH feeds AS (
    SELECT unique_key, created_date, closed_date, agency, agency_name, complaint_type, descriptor, location_type,
           incident_zip, incident_address, street_name, cross_street_1, address_type, city, facility_type, status,
           due_date, resolution_description, resolution_action_updated_date, community_board, bbl, borough,
           x_coordinate_state_plane, y_coordinate_state_plane, open_data_channel_type, latitude, longitude, _loaded_at
    FROM raw.complaints_created
    UNION ALL
    SELECT unique_key, created_date, closed_date, agency, agency_name, complaint_type, descriptor, location_type,
           incident_zip, incident_address, street_name, cross_street_1, address_type, city, facility_type, status,
           due_date, resolution_description, resolution_action_updated_date, community_board, bbl, borough,
           x_coordinate_state_plane, y_coordinate_state_plane, open_data_channel_type, latitude, longitude, _loaded_at
    FROM raw.complaints_closed
),
dated AS (
    SELECT *,
           try_timestamp(created_date) AS created_local,
           try_timestamp(closed_date) AS closed_local,
           try_timestamp(due_date) AS due_local
    FROM feeds
),
judged AS (
    SELECT *,
           CASE
               WHEN closed_local IN (TIMESTAMP '1900-01-01T00:00:00', TIMESTAMP '2100-01-01T00:00:00') THEN 'placeholder'
               WHEN closed_local < created_local THEN 'before opened'
           END AS closed_flag
    FROM dated
)
SELECT
    try_int(unique_key) AS unique_key,
    local_timestamp(created_local, 'America/New_York') AS created_at,
    CAST(created_local AS DATE) AS created_day,                            -- in New York
    local_timestamp(CASE WHEN closed_flag IS NULL THEN closed_local END, 'America/New_York') AS closed_at,
    closed_flag,                                                           -- why closed_at is null though a date was given
    local_timestamp(CASE WHEN due_local >= TIMESTAMP '2010-01-01T00:00:00' THEN due_local END, 'America/New_York') AS due_at,
    local_timestamp(resolution_action_updated_date, 'America/New_York') AS resolution_updated_at,
    lower(clean(agency)) AS agency,                                        -- code: nypd, hpd, dot, …
    lower(clean(agency_name)) AS agency_name,
    lower(clean(complaint_type)) AS complaint_type,
    lower(clean(descriptor)) AS descriptor,
    lower(clean(location_type)) AS location_type,
    lower(clean(status)) AS status,
    lower(clean(resolution_description)) AS resolution_description,
    lower(clean(borough)) AS borough,
    lower(clean(CASE WHEN city NOT IN ('UNKNOWN', 'NA') THEN city END)) AS city,
    lower(clean(community_board)) AS community_board,
    zip_code(incident_zip) AS incident_zip,                                -- text: 11235, never 11235.0
    lower(clean(incident_address)) AS incident_address,
    lower(clean(street_name)) AS street_name,
    lower(clean(cross_street_1)) AS cross_street_1,
    lower(clean(address_type)) AS address_type,
    lower(clean(facility_type)) AS facility_type,
    lower(clean(open_data_channel_type)) AS channel,                       -- phone, online, mobile, unknown
    lpad(CAST(CAST(try_double(bbl) AS BIGINT) AS TEXT), 10, '0') AS bbl,   -- borough, block and lot: ten digits
    CAST(try_double(x_coordinate_state_plane) AS BIGINT) AS x_feet,        -- in the state plane, as y_feet
    CAST(try_double(y_coordinate_state_plane) AS BIGINT) AS y_feet,
    try_double(latitude) AS latitude,
    try_double(longitude) AS longitude,
    _loaded_at AS loaded_at
FROM judged
