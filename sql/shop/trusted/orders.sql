-- Orders from the shop's database, one row an order: exact amounts, statuses spelt in one way.
/*---
key: [id]
checks:
  - unique: [id]
  - not_null: [id, user_id, city_id, product_id, quantity, unit_price, total, ordered_at, status]
  - accepted: {status: [paid, shipped, delivered, cancelled]}
  - relation: {city_id: trusted.cities.id}
  - quantity > 0
  - unit_price >= 0
  - {name: updated_after_ordered, sql: "updated_at >= ordered_at", severity: warn}
---*/
SELECT
    id,
    user_id,
    city_id,
    product_id,
    quantity,
    CAST(unit_price AS DECIMAL(10, 2)) AS unit_price,                      -- price paid for one, in USD
    CAST(quantity * CAST(unit_price AS DECIMAL(10, 2)) AS DECIMAL(14, 2)) AS total,  -- in USD
    CAST(ordered_at AS TIMESTAMP) AS ordered_at,                           -- local time
    CAST(updated_at AS TIMESTAMP) AS updated_at,                           -- local time of the last change
    lower(trim(status)) AS status                                          -- paid, shipped, delivered or cancelled
FROM raw.orders
-- Every load is the whole table; only the newest one counts.
WHERE _newest
