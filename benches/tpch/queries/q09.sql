-- Product type profit: by nation and year, for parts of a colour.
WITH profits AS (
    SELECT
        n_name AS nation,
        EXTRACT(YEAR FROM o_orderdate) AS o_year,
        l_extendedprice * (1 - l_discount) - ps_supplycost * l_quantity AS amount
    FROM trusted.part
    JOIN trusted.lineitem ON l_partkey = p_partkey
    JOIN trusted.supplier ON s_suppkey = l_suppkey
    JOIN trusted.partsupp ON ps_partkey = l_partkey AND ps_suppkey = l_suppkey
    JOIN trusted.orders ON o_orderkey = l_orderkey
    JOIN trusted.nation ON n_nationkey = s_nationkey
    WHERE p_name LIKE '%green%'
)
SELECT nation, o_year, SUM(amount) AS sum_profit
FROM profits
GROUP BY nation, o_year
ORDER BY nation, o_year DESC
