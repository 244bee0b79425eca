-- National market share: the part of a nation in a region's sales of a type, by year.
WITH sales AS (
    SELECT
        EXTRACT(YEAR FROM o_orderdate) AS o_year,
        l_extendedprice * (1 - l_discount) AS volume,
        supplier_nation.n_name AS nation
    FROM trusted.part
    JOIN trusted.lineitem ON l_partkey = p_partkey
    JOIN trusted.supplier ON s_suppkey = l_suppkey
    JOIN trusted.orders ON o_orderkey = l_orderkey
    JOIN trusted.customer ON c_custkey = o_custkey
    JOIN trusted.nation AS customer_nation ON customer_nation.n_nationkey = c_nationkey
    JOIN trusted.region ON r_regionkey = customer_nation.n_regionkey
    JOIN trusted.nation AS supplier_nation ON supplier_nation.n_nationkey = s_nationkey
    WHERE r_name = 'AMERICA'
      AND o_orderdate BETWEEN DATE '1995-01-01' AND DATE '1996-12-31'
      AND p_type = 'ECONOMY ANODIZED STEEL'
)
SELECT o_year, SUM(CASE WHEN nation = 'BRAZIL' THEN volume ELSE 0 END) / SUM(volume) AS mkt_share
FROM sales
GROUP BY o_year
ORDER BY o_year
