-- Items.
/*---
materialize: append
incremental: raw.items
partition_by: [day]
tags: [daily]
checks:
  - unique: [id]
  - not_null: id
  - accepted: {kind: [a, b]}
  - relation: {id: trusted.x.id}
  - rows > 0
  - {name: n, sql: "v > 0", severity: drop}
---*/
SELECT id, -- the id
  day FROM raw.items i JOIN trusted.x USING (id)
