-- Order priority checking: orders of a quarter with a line that came later than promised.
SELECT o_orderpriority, COUNT(*) AS order_count
FROM trusted.orders
WHERE o_orderdate >= DATE '1993-07-01'
  AND o_orderdate < DATE '1993-07-01' + INTERVAL '3' MONTH
  AND EXISTS (
      SELECT 1 FROM trusted.lineitem WHERE l_orderkey = o_orderkey AND l_commitdate < l_receiptdate
  )
GROUP BY o_orderpriority
ORDER BY o_orderpriority
