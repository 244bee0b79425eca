-- How good the predictors for numbers are on the rows that they learned from: one row each. What they were judged by is
-- in `lagar predictors show`.
/*---
key: [model_name]
checks:
  - unique: [model_name]
  - rmse >= 0
---*/
WITH answered AS (
    SELECT price, predict('price_line') AS answer FROM trusted.products
),
about AS (
    SELECT avg(price) AS mean FROM trusted.products
)
SELECT
    'price_line' AS model_name,
    sqrt(avg(power(price - answer, 2))) AS rmse,                           -- root of the mean squared error, in USD
    1 - sum(power(price - answer, 2)) / sum(power(price - mean, 2)) AS r2, -- share of the variance that is explained
    count(*) AS rows                                                       -- products
FROM answered
CROSS JOIN about
