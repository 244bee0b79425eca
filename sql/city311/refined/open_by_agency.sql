-- How much lies open with each agency: one row an agency. What was closed as a test (`closed - testing`) is closed.
/*---
key: [agency]
tags: [daily]
checks:
  - rows > 0
  - open <= requests
---*/
SELECT
    agency,
    max(agency_name) AS agency_name,
    count(*) AS requests,
    count(*) FILTER (WHERE status NOT LIKE 'closed%') AS open,
    count(*) FILTER (WHERE status NOT LIKE 'closed%' AND due_at < loaded_at) AS overdue,  -- due before we last heard
    min(created_at) FILTER (WHERE status NOT LIKE 'closed%') AS oldest_open
FROM trusted.complaints
GROUP BY agency
