-- What each customer's carts are worth at list prices: one row a user with something in a cart.
/*---
key: [user_id]
checks:
  - unique: [user_id]
  - not_null: [user_id, user_name]
  - revenue >= 0
---*/
SELECT
    items.user_id,
    users.name AS user_name,
    sum(items.quantity) AS units,                                          -- pieces in carts
    sum(products.price * items.quantity) AS revenue                        -- in USD
FROM trusted.cart_items AS items
JOIN trusted.products AS products ON products.id = items.product_id
JOIN trusted.users AS users ON users.id = items.user_id
GROUP BY items.user_id, users.name
