-- Important stock: parts that are more than a share (0.0001 / scale factor) of a nation's stock by value.
WITH stock AS (
    SELECT ps_partkey, SUM(ps_supplycost * ps_availqty) AS value
    FROM trusted.partsupp
    JOIN trusted.supplier ON s_suppkey = ps_suppkey
    JOIN trusted.nation ON n_nationkey = s_nationkey
    WHERE n_name = 'GERMANY'
    GROUP BY ps_partkey
)
SELECT ps_partkey, value
FROM stock
WHERE value > (SELECT SUM(value) * {fraction} FROM stock)
ORDER BY value DESC, ps_partkey
