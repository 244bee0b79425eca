-- What to expect in the next week: noise complaints by day and borough, with an interval in which they lie nine times
-- out of ten.
/*---
key: [borough, day]
tags: [daily]
checks:
  - unique: [borough, day]
  - {name: in_its_interval, sql: "cases BETWEEN at_least AND at_most"}
---*/
SELECT
    borough,
    day,
    value AS cases,                                                        -- what is most likely
    lower AS at_least,
    upper AS at_most
FROM forecast('noise_ahead')
