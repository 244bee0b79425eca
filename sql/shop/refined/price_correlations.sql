-- How prices and ratings go together: the coefficients of Pearson, one row for each two columns.
/*---
key: [a, b]
checks:
  - unique: [a, b]
  - {name: between_minus_1_and_1, sql: "pearson BETWEEN -1 AND 1"}
---*/
SELECT 'price' AS a, 'rating' AS b, corr(price, CAST(rating AS DOUBLE)) AS pearson FROM trusted.products
UNION ALL
SELECT 'price', 'ratings', corr(price, CAST(ratings AS DOUBLE)) FROM trusted.products
UNION ALL
SELECT 'rating', 'ratings', corr(rating, CAST(ratings AS DOUBLE)) FROM trusted.products
