-- Customers, one row a user: flat, without the password, coordinates as numbers.
/*---
key: [id]
checks:
  - unique: [id]
  - not_null: [id, name, email]
  - rows > 0
  - email LIKE '%_@_%'
  - latitude BETWEEN -90 AND 90
  - longitude BETWEEN -180 AND 180
---*/
SELECT
    id,
    username,
    trim(name['firstname']) || ' ' || trim(name['lastname']) AS name,      -- first and last name
    lower(trim(email)) AS email,                                           -- in lower case
    trim(address['city']) AS city,                                         -- as the customer typed it
    CAST(address['geolocation']['lat'] AS DOUBLE) AS latitude,             -- degrees north
    CAST(address['geolocation']['long'] AS DOUBLE) AS longitude            -- degrees east
FROM raw.users
-- Every load is the whole list; only the newest one counts.
WHERE _newest
