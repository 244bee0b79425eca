-- What is known of a day and borough before it begins, and whether its noise was high: for predictors. Nothing
-- comes from the day itself or from later ones but `cases` and `high`, which are what is to be predicted.
/*---
key: [day, borough]
tags: [daily]
checks:
  - rows > 0
  - {name: lags_look_back, sql: "lag_1 IS NULL OR lag_1 >= 0"}
---*/
WITH lagged AS (
    SELECT
        CAST(day AS DATE) AS day, borough, cases,
        lag(cases, 1) OVER past AS lag_1,
        lag(cases, 2) OVER past AS lag_2,
        lag(cases, 3) OVER past AS lag_3,
        lag(cases, 4) OVER past AS lag_4,
        lag(cases, 5) OVER past AS lag_5,
        lag(cases, 6) OVER past AS lag_6,
        lag(cases, 7) OVER past AS lag_7,
        lag(cases, 8) OVER past AS lag_8,
        lag(cases, 9) OVER past AS lag_9,
        avg(cases) OVER (PARTITION BY borough, date_part('month', day) ORDER BY day
                         ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS month_mean,
        avg(cases) OVER (PARTITION BY borough ORDER BY day
                         ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS past_mean
    FROM refined.noise_daily
    WINDOW past AS (PARTITION BY borough ORDER BY day)
)
SELECT
    day,
    borough,
    cases,
    CAST(date_part('year', day) AS INT) AS year,
    CAST(date_part('month', day) AS INT) AS month,
    CAST(date_part('day', day) AS INT) AS day_of_month,
    CAST((date_part('dow', day) + 6) AS INT) % 7 AS day_of_week,           -- Monday is 0
    CAST(date_part('week', day) AS INT) AS week,                           -- ISO 8601
    us_federal_holiday(day) IS NOT NULL AS holiday,                        -- of the federal government, also observed
    lag_1, lag_2, lag_3, lag_4, lag_5, lag_6, lag_7, lag_8, lag_9,         -- cases so many calendar days before
    coalesce(month_mean, past_mean) AS usual,                              -- mean of the days before, of the same month if there are
    cases >= coalesce(month_mean, past_mean) AS high                       -- null on the first day, which has no past
FROM lagged
