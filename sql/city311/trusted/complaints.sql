-- Every request once, as it was last heard of: opened by the feed of its day, updated by the feed of the day on
-- which it was closed. Texts are in lower case, without doubled spaces, and null where somebody wrote a word for
-- nothing. A date that cannot be is null too, and a flag beside it says why.
--
-- Left out is what `lagar profile raw.complaints_created --suggest` found hardly ever filled or always the same on
-- four weeks (bridges, taxis, landmark, intersections, vehicle_type, park_facility_name), location and park_borough,
-- which say what other columns say, and council_district, which began in May. What is filled only when a request is
-- closed, or by some agencies, stays.
/*---
materialize: merge
key: [unique_key]
latest_by: [heard_at, has_closing_date]
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
  - {name: closed_before_2010, sql: "closed_flag IS DISTINCT FROM 'before 2010'", severity: warn}
  - {name: closed_after_it_was_loaded, sql: "closed_flag IS DISTINCT FROM 'after loaded'", severity: warn}
  - {name: due_is_a_placeholder, sql: "due_flag IS DISTINCT FROM 'placeholder'", severity: warn}
  - {name: due_before_2010, sql: "due_flag IS DISTINCT FROM 'before 2010'", severity: warn}
  - {name: updated_is_a_placeholder, sql: "updated_flag IS DISTINCT FROM 'placeholder'", severity: warn}
  - {name: updated_before_2010, sql: "updated_flag IS DISTINCT FROM 'before 2010'", severity: warn}
  - {name: updated_after_it_was_loaded, sql: "updated_flag IS DISTINCT FROM 'after loaded'", severity: warn}
---*/
WITH feeds AS (
    SELECT unique_key, created_date, closed_date, agency, agency_name, complaint_type, descriptor, location_type,
           incident_zip, incident_address, street_name, cross_street_1, cross_street_2, address_type, city,
           facility_type, status, due_date, resolution_description, resolution_action_updated_date, community_board, bbl,
           borough, x_coordinate_state_plane, y_coordinate_state_plane, open_data_channel_type, latitude, longitude,
           _loaded_at
    FROM raw.complaints_created WHERE _newest
    UNION ALL
    SELECT unique_key, created_date, closed_date, agency, agency_name, complaint_type, descriptor, location_type,
           incident_zip, incident_address, street_name, cross_street_1, cross_street_2, address_type, city,
           facility_type, status, due_date, resolution_description, resolution_action_updated_date, community_board, bbl,
           borough, x_coordinate_state_plane, y_coordinate_state_plane, open_data_channel_type, latitude, longitude,
           _loaded_at
    FROM raw.complaints_closed WHERE _newest
),
dated AS (
    SELECT *,
           try_timestamp(created_date) AS created_local,
           try_timestamp(closed_date) AS closed_local,
           try_timestamp(due_date) AS due_local,
           try_timestamp(resolution_action_updated_date) AS updated_local
    FROM feeds
),
-- Systems that have no date to give write one of 1900 or of 2100. A day on which something is due may well come after
-- it was loaded.
judged AS (
    SELECT *,
           CASE
               WHEN closed_local < TIMESTAMP '1901-01-01' OR closed_local >= TIMESTAMP '2100-01-01' THEN 'placeholder'
               WHEN closed_local < TIMESTAMP '2010-01-01' THEN 'before 2010'
               WHEN closed_local < created_local THEN 'before opened'
               WHEN local_timestamp(closed_local, 'America/New_York') > _loaded_at THEN 'after loaded'
           END AS closed_flag,
           CASE
               WHEN due_local < TIMESTAMP '1901-01-01' OR due_local >= TIMESTAMP '2100-01-01' THEN 'placeholder'
               WHEN due_local < TIMESTAMP '2010-01-01' THEN 'before 2010'
           END AS due_flag,
           CASE
               WHEN updated_local < TIMESTAMP '1901-01-01' OR updated_local >= TIMESTAMP '2100-01-01' THEN 'placeholder'
               WHEN updated_local < TIMESTAMP '2010-01-01' THEN 'before 2010'
               WHEN local_timestamp(updated_local, 'America/New_York') > _loaded_at THEN 'after loaded'
           END AS updated_flag
    FROM dated
),
believed AS (
    SELECT *,
           local_timestamp(CASE WHEN closed_flag IS NULL THEN closed_local END, 'America/New_York') AS closed_at,
           local_timestamp(CASE WHEN due_flag IS NULL THEN due_local END, 'America/New_York') AS due_at,
           local_timestamp(CASE WHEN updated_flag IS NULL THEN updated_local END, 'America/New_York') AS resolution_updated_at
    FROM judged
)
SELECT
    try_int(unique_key) AS unique_key,
    local_timestamp(created_local, 'America/New_York') AS created_at,
    try_date(created_date) AS created_day,                                 -- in New York
    closed_at,
    closed_flag,                                                           -- why closed_at is null though there was a date
    closed_local IS NOT NULL AS has_closing_date,                          -- one that can be or not: of equally new rows this one counts
    due_at,
    due_flag,                                                              -- the same of due_at
    resolution_updated_at,
    updated_flag,                                                          -- the same of resolution_updated_at
    coalesce(resolution_updated_at, closed_at) AS heard_at,                -- the newest row of a request counts
    lower(clean(agency)) AS agency,                                        -- code: nypd, hpd, dot, …
    lower(squeeze(agency_name)) AS agency_name,                            -- never missing: no word in it means nothing
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
    lower(clean(cross_street_2)) AS cross_street_2,
    lower(null_tokens(address_type)) AS address_type,                      -- chosen from a list, as the next two: no spaces
    lower(null_tokens(facility_type)) AS facility_type,
    lower(null_tokens(open_data_channel_type)) AS channel,                 -- phone, online, mobile, other, unknown
    lpad(CAST(CAST(try_double(bbl) AS BIGINT) AS TEXT), 10, '0') AS bbl,   -- borough, block and lot: ten digits
    CAST(try_double(x_coordinate_state_plane) AS BIGINT) AS x_feet,        -- in the state plane, as y_feet
    CAST(try_double(y_coordinate_state_plane) AS BIGINT) AS y_feet,
    try_double(latitude) AS latitude,
    try_double(longitude) AS longitude,
    _loaded_at AS loaded_at
FROM believed
