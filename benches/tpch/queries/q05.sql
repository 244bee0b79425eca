-- Local supplier volume: what the suppliers of a nation sold to customers of the same nation in a year.
SELECT n_name, SUM(l_extendedprice * (1 - l_discount)) AS revenue
FROM trusted.customer
JOIN trusted.orders ON o_custkey = c_custkey
JOIN trusted.lineitem ON l_orderkey = o_orderkey
JOIN trusted.supplier ON s_suppkey = l_suppkey AND s_nationkey = c_nationkey
JOIN trusted.nation ON n_nationkey = s_nationkey
JOIN trusted.region ON r_regionkey = n_regionkey
WHERE r_name = 'ASIA'
  AND o_orderdate >= DATE '1994-01-01'
  AND o_orderdate < DATE '1994-01-01' + INTERVAL '1' YEAR
GROUP BY n_name
ORDER BY revenue DESC
