/*---
key: [a]
SELECT 1