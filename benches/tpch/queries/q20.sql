-- Potential part promotion: suppliers of a nation with more than half a year's sales of a colour in stock.
SELECT s_name, s_address
FROM trusted.supplier
JOIN trusted.nation ON n_nationkey = s_nationkey
WHERE n_name = 'CANADA'
  AND s_suppkey IN (
      SELECT ps_suppkey
      FROM trusted.partsupp
      WHERE ps_partkey IN (SELECT p_partkey FROM trusted.part WHERE p_name LIKE 'forest%')
        AND ps_availqty > (
            SELECT 0.5 * SUM(l_quantity)
            FROM trusted.lineitem
            WHERE l_partkey = ps_partkey
              AND l_suppkey = ps_suppkey
              AND l_shipdate >= DATE '1994-01-01'
              AND l_shipdate < DATE '1994-01-01' + INTERVAL '1' YEAR
        )
  )
ORDER BY s_name
