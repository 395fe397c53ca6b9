-- What `tidemark-origin warm --query dashboard` loads: for each organization the quarter of its latest
-- order. A column for each parameter; region is left out, so it is the default.
SELECT org_id AS org,
       date_trunc('quarter', max(ordered_on))::date AS "from",
       (date_trunc('quarter', max(ordered_on)) + INTERVAL '3 months - 1 day')::date AS "to"
FROM orders
GROUP BY org_id
ORDER BY org_id
