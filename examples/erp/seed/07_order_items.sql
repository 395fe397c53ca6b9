-- One to five lines an order, three on average, at the price of the day: today's or up to 9 % less.
-- Some products sell far better than others; the step between an order's products is at most 7, so that
-- four steps never come round to the first (hence at least 30 products).
WITH
size AS (SELECT current_setting('erp.products')::bigint AS products),
line AS (
    SELECT o.id AS order_id,
           5 * o.id + l AS n,
           1 + (floor(products * u * u)::bigint + l * (1 + o.id % 7)) % products AS product_id
    FROM size,
         orders AS o,
         LATERAL (SELECT o.id * 2654435761 % 4294967296 / 4294967296.0::float8 AS u) AS draw,
         generate_series(0, o.id * 3266489917 % 4294967296 * 5 / 4294967296) AS l
)
INSERT INTO order_items (order_id, product_id, quantity, unit_price)
SELECT
    line.order_id,
    line.product_id,
    1 + floor(12 * u * u)::integer,
    round(p.price * (100 - line.n % 10) / 100, 2)
FROM line
JOIN products AS p ON p.id = line.product_id,
     LATERAL (SELECT line.n * 2246822519 % 4294967296 / 4294967296.0::float8 AS u) AS draw
ORDER BY line.n;
