-- What the carts are worth at list prices: one row a category of which something lies in a cart.
/*---
key: [category]
checks:
  - unique: [category]
  - units > 0
  - revenue >= 0
---*/
SELECT
    products.category,
    sum(items.quantity) AS units,                                          -- pieces in carts
    sum(products.price * items.quantity) AS revenue                        -- in USD
FROM trusted.cart_items AS items
JOIN trusted.products AS products ON products.id = items.product_id
GROUP BY products.category
