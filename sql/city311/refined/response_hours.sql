-- How long agencies take from opening to closing a request, in hours: one row an agency and kind of complaint.
-- Dates that cannot be are left out, see closed_flag in trusted.complaints.
/*---
key: [agency, complaint_type]
tags: [daily]
checks:
  - rows > 0
  - p50 >= 0 AND p50 <= p90 AND p90 <= longest
---*/
WITH answered AS (
    SELECT agency, complaint_type,
           (to_unixtime(closed_at) - to_unixtime(created_at)) / 3600.0 AS hours
    FROM trusted.complaints
    WHERE closed_at IS NOT NULL
)
SELECT
    agency,
    complaint_type,
    count(*) AS closed,
    percentile_cont(hours, 0.5) AS p50,                                    -- half are closed within so many hours
    percentile_cont(hours, 0.9) AS p90,
    max(hours) AS longest
FROM answered
GROUP BY agency, complaint_type
