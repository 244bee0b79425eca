-- Visits with clean countries: one row per visit.
/*---
checks:
  - not_null: [visited_at, page]
  - seconds >= 0
---*/
SELECT
    visited_at,                 -- when the page was opened, local time
    page,                       -- path of the page
    TRIM(country) AS country,   -- ISO 3166 code
    seconds                     -- time on the page, in seconds
FROM raw.visits
-- The file holds everything each time it is loaded, so only its newest load counts.
WHERE _newest
