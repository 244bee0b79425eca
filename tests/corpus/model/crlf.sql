-- A.
/*---
key: id
---*/
SELECT id
FROM raw.items
