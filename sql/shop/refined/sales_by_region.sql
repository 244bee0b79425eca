-- Where the shop sells: one row a region, also one without a sale. Orders come from the database,
-- regions from the file of cities, list prices from the API; cancelled orders do not count.
/*---
key: [region]
checks:
  - unique: [region]
  - rows > 0
  - orders >= 0
  - revenue >= 0
---*/
WITH regions AS (
    SELECT region, sum(population) AS population
    FROM trusted.cities
    GROUP BY region
),
sales AS (
    SELECT cities.region, orders.id, orders.user_id, orders.quantity, orders.total,
           products.price * orders.quantity AS list_total
    FROM trusted.orders AS orders
    JOIN trusted.cities AS cities ON cities.id = orders.city_id
    LEFT JOIN trusted.products AS products ON products.id = orders.product_id
    WHERE orders.status <> 'cancelled'
)
SELECT
    regions.region,
    regions.population,                                                    -- inhabitants of its cities, where known
    count(sales.id) AS orders,                                             -- orders that were not cancelled
    count(DISTINCT sales.user_id) AS customers,
    coalesce(sum(sales.quantity), 0) AS units,
    coalesce(sum(sales.total), 0) AS revenue,                              -- paid, in USD
    coalesce(sum(sales.list_total), 0) AS list_revenue                     -- at today's list prices, in USD
FROM regions
LEFT JOIN sales ON sales.region = regions.region
GROUP BY regions.region, regions.population
