-- Global sales opportunity: customers of some countries with money and without orders.
WITH chosen AS (
    SELECT SUBSTRING(c_phone, 1, 2) AS cntrycode, c_acctbal, c_custkey
    FROM trusted.customer
    WHERE SUBSTRING(c_phone, 1, 2) IN ('13', '31', '23', '29', '30', '18', '17')
)
SELECT cntrycode, COUNT(*) AS numcust, SUM(c_acctbal) AS totacctbal
FROM chosen
WHERE c_acctbal > (SELECT AVG(c_acctbal) FROM chosen WHERE c_acctbal > 0.00)
  AND NOT EXISTS (SELECT 1 FROM trusted.orders WHERE o_custkey = c_custkey)
GROUP BY cntrycode
ORDER BY cntrycode
