-- The catalogue, one row a product: prices always DOUBLE, titles trimmed. Every product has a user
-- who looks after it, dealt out in turn: the k-th product by id gets the k-th user by id, and after
-- the last user the first one again. The same input always gives the same pairs.
/*---
key: [id]
checks:
  - unique: [id]
  - not_null: [id, title, price, category, user_name, user_email]
  - rows > 0
  - price >= 0
  - {name: title_is_trimmed, sql: "title = trim(title)"}
---*/
WITH catalogue AS (
    SELECT *, row_number() OVER (ORDER BY id) - 1 AS place
    FROM raw.products
    WHERE _newest
),
keepers AS (
    SELECT id, name, email, row_number() OVER (ORDER BY id) - 1 AS seat, count(*) OVER () AS seats
    FROM trusted.users
)
SELECT
    catalogue.id,
    trim(catalogue.title) AS title,
    CAST(catalogue.price AS DOUBLE) AS price,                              -- list price in USD
    catalogue.category,                                                    -- spelt as the shop spells it
    catalogue.description,
    catalogue.image,                                                       -- URL of the picture
    CAST(catalogue.rating['rate'] AS DOUBLE) AS rating,                    -- mean of the ratings, 1 to 5
    CAST(catalogue.rating['count'] AS BIGINT) AS ratings,                  -- number of ratings
    keepers.id AS user_id,
    keepers.name AS user_name,
    keepers.email AS user_email
FROM catalogue
LEFT JOIN keepers ON keepers.seat = catalogue.place % keepers.seats
