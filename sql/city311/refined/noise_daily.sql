-- Complaints about noise that the police take, one row a day and borough; no day of the time that is covered is
-- missing, and none counts less than 0. Before the first request it is what was counted then, when that was final.
/*---
key: [day, borough]
tags: [daily]
checks:
  - rows > 0
  - cases >= 0
  - {name: no_day_missing, sql: "count(DISTINCT day) = CAST(max(day) - min(day) AS BIGINT) + 1"}
---*/
WITH covered AS (
    SELECT min(created_day) AS first_day, max(created_day) AS last_day FROM trusted.complaints
),
days AS (
    SELECT CAST(unnest(generate_series(first_day, last_day, INTERVAL '1 day')) AS DATE) AS day FROM covered
),
boroughs AS (
    SELECT unnest(['bronx', 'brooklyn', 'manhattan', 'queens', 'staten island', 'unspecified']) AS borough
),
counted AS (
    SELECT created_day AS day, borough, count(*) AS cases
    FROM trusted.complaints
    WHERE agency = 'nypd' AND complaint_type LIKE '%noise%'
    GROUP BY created_day, borough
)
SELECT
    days.day,                                                              -- in New York
    boroughs.borough,
    coalesce(counted.cases, 0) AS cases                                    -- requests opened on that day
FROM days
CROSS JOIN boroughs
LEFT JOIN counted ON counted.day = days.day AND counted.borough = boroughs.borough
UNION ALL
SELECT before.day, before.borough, before.cases
FROM raw.noise_before AS before
CROSS JOIN covered
WHERE before._newest AND try_bool(before.is_final) AND before.day < covered.first_day
