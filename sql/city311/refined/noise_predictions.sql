-- Which days were expected to be noisy, one row a day and borough, beside what came. The days on which the predictor
-- was judged are the last ones: on those before them it looks better than it is.
/*---
key: [day, borough]
tags: [daily]
checks:
  - unique: [day, borough]
  - rows > 0
  - {name: six_boroughs_a_day, sql: "count(*) = 6 * count(DISTINCT day)"}
  - {name: probability, sql: "probability BETWEEN 0 AND 1"}
---*/
SELECT
    day,
    borough,
    predict('high_noise') AS expected,                                     -- whether the day is above what is usual
    predict_proba('high_noise') AS probability,                            -- that it is
    high AS came                                                           -- null on the first day, which has no past
FROM refined.noise_features
