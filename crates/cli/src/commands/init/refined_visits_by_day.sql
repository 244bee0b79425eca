-- Visits by day and country: one row per (day, country).
/*---
key: [day, country]
---*/
SELECT
    CAST(visited_at AS DATE) AS day,  -- local day
    country,                          -- ISO 3166 code
    COUNT(*) AS visits,               -- number of visits
    AVG(seconds) AS avg_seconds       -- mean time on a page, in seconds
FROM trusted.visits
GROUP BY 1, 2
