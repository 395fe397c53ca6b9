-- Orders, spread evenly over 2024 and 2025 in the order of their ids. Every other one goes to the
-- organizations in turn, so that each has some in every quarter; the rest goes where business is good:
-- organization 1 is by far the largest, 42 is middling, the last are small. Inside an organization, too,
-- some customers buy far more than others.
WITH
size AS (
    SELECT current_setting('erp.organizations')::bigint AS orgs,
           current_setting('erp.customers')::bigint AS customers,
           current_setting('erp.orders')::bigint AS orders
),
-- Chance: u, v and w are in 0 … 1, s in 0 … 99.
draw AS (
    SELECT n,
           n * 2654435761 % 4294967296 / 4294967296.0::float8 AS u,
           n * 2246822519 % 4294967296 / 4294967296.0::float8 AS v,
           n * 3266489917 % 4294967296 / 4294967296.0::float8 AS w,
           n * 668265263 % 4294967296 / 42949673 AS s
    FROM size, generate_series(1, orders) AS n
),
placed AS (
    SELECT n, v, w, s,
           CASE WHEN n % 2 = 1 THEN 1 + n / 2 % orgs
                ELSE 1 + floor(orgs * u * u * u)::bigint END AS org,
           date '2024-01-01' + ((n - 1) * 731 / orders)::integer AS day
    FROM size, draw
)
INSERT INTO orders (id, org_id, customer_id, created_by, status, ordered_on, created_at)
SELECT
    n,
    org,
    -- The organization's customers are org, org + orgs, org + 2 × orgs …
    org + orgs * floor(((customers - org) / orgs + 1) * v * v)::bigint,
    -- … and its users likewise, five of them; one order in five came in without a person.
    CASE WHEN s % 5 > 0 THEN org + orgs * floor(5 * w)::bigint END,
    CASE WHEN s < 5 THEN 'cancelled'
         WHEN day < date '2025-10-01' OR s < 40 THEN 'delivered'
         WHEN s < 60 THEN 'shipped'
         WHEN s < 85 THEN 'confirmed'
         ELSE 'pending' END,
    day,
    day::timestamp AT TIME ZONE 'UTC' + n % 43200 * interval '1 second' + interval '6 hours'
FROM size, placed
ORDER BY n;

SELECT setval(pg_get_serial_sequence('orders', 'id'), (SELECT max(id) FROM orders));
