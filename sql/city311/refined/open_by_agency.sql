-- How much lies open with each agency: one row an agency.
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
    count(*) FILTER (WHERE status <> 'closed') AS open,
    count(*) FILTER (WHERE status <> 'closed' AND due_at < loaded_at) AS overdue,  -- open when last heard of, and due before
    min(created_at) FILTER (WHERE status <> 'closed') AS oldest_open
FROM trusted.complaints
GROUP BY agency
