-- What the catalogue looks like: one row a category.
/*---
key: [category]
checks:
  - unique: [category]
  - products_quant > 0
  - rows > 0
---*/
SELECT
    category,
    avg(price) AS avg_price,                                               -- mean list price in USD
    count(id) AS products_quant                                            -- number of products
FROM trusted.products
GROUP BY category
