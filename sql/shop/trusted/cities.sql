-- Cities that the shop delivers to, one row a city.
/*---
key: [id]
checks:
  - unique: [id]
  - not_null: [id, name, region]
  - rows > 0
  - population IS NULL OR population > 0
---*/
SELECT
    id,
    trim(name) AS name,
    trim(region) AS region,                                                -- natural region
    population,                                                            -- inhabitants, rounded; null when unknown
    founded,                                                               -- day of the foundation
    latitude,                                                              -- degrees north
    longitude                                                              -- degrees east
FROM raw.cities
-- Every load is the whole file; only the newest one counts.
WHERE _newest
