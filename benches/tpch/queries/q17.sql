-- Small-quantity orders: what would be lost a year if a part's small orders were refused.
SELECT SUM(l_extendedprice) / 7.0 AS avg_yearly
FROM trusted.lineitem
JOIN trusted.part ON p_partkey = l_partkey
WHERE p_brand = 'Brand#23'
  AND p_container = 'MED BOX'
  AND l_quantity < (
      SELECT 0.2 * AVG(same.l_quantity) FROM trusted.lineitem AS same WHERE same.l_partkey = p_partkey
  )
