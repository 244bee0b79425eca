-- Which products are alike in price and ratings: one row a product. Group 0 is the largest.
/*---
key: [id]
checks:
  - unique: [id]
  - not_null: [product_group]
  - rows > 0
---*/
SELECT id, title, category, price, rating, ratings, predict('product_groups') AS product_group
FROM trusted.products
