-- What lies in the carts: one row a cart and product. A product that was put into the same cart twice
-- is one row with both quantities; an empty cart has no row.
/*---
key: [cart_id, product_id]
checks:
  - unique: [cart_id, product_id]
  - not_null: [cart_id, user_id, product_id, quantity]
  - relation: {user_id: trusted.users.id}
  - relation: {product_id: trusted.products.id}
  - quantity > 0
---*/
WITH items AS (
    SELECT id, "userId", "date", unnest(products) AS item
    FROM raw.carts
    WHERE _newest
)
SELECT
    id AS cart_id,
    "userId" AS user_id,
    CAST("date" AS DATE) AS ordered_on,                                    -- day in UTC
    item['productId'] AS product_id,
    sum(item['quantity']) AS quantity
FROM items
GROUP BY 1, 2, 3, 4
