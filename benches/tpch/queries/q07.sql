-- Volume shipping: trade between two nations, both ways, by year.
SELECT
    supplier_nation.n_name AS supp_nation,
    customer_nation.n_name AS cust_nation,
    EXTRACT(YEAR FROM l_shipdate) AS l_year,
    SUM(l_extendedprice * (1 - l_discount)) AS revenue
FROM trusted.supplier
JOIN trusted.lineitem ON l_suppkey = s_suppkey
JOIN trusted.orders ON o_orderkey = l_orderkey
JOIN trusted.customer ON c_custkey = o_custkey
JOIN trusted.nation AS supplier_nation ON supplier_nation.n_nationkey = s_nationkey
JOIN trusted.nation AS customer_nation ON customer_nation.n_nationkey = c_nationkey
WHERE l_shipdate BETWEEN DATE '1995-01-01' AND DATE '1996-12-31'
  AND (
      supplier_nation.n_name = 'FRANCE' AND customer_nation.n_name = 'GERMANY'
      OR supplier_nation.n_name = 'GERMANY' AND customer_nation.n_name = 'FRANCE'
  )
GROUP BY 1, 2, 3
ORDER BY 1, 2, 3
