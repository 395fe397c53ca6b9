-- What an organization sold in a period, to whom, and what of it is still to be paid: one JSON object.
--
-- Items and payments both hang on orders. Joined directly, every payment would count once per item, so
-- each side is summed per order first.
WITH
selected AS MATERIALIZED (
    SELECT o.id, o.ordered_on, c.id AS customer_id, c.name AS customer
    FROM organizations AS g
    JOIN orders AS o ON o.org_id = g.id
    JOIN customers AS c ON c.org_id = o.org_id AND c.id = o.customer_id
    WHERE g.id = :org
      AND o.ordered_on BETWEEN :from AND :to
      AND o.status <> 'cancelled'
      AND (:region = 'all' OR c.region = :region)
),
lines AS MATERIALIZED (
    SELECT i.order_id, i.quantity, i.quantity * i.unit_price AS amount,
           p.id AS product_id, p.name AS product, p.category
    FROM selected AS s
    JOIN order_items AS i ON i.order_id = s.id
    JOIN products AS p ON p.id = i.product_id
),
invoiced AS (
    SELECT order_id, sum(amount) AS amount, sum(quantity) AS units
    FROM lines GROUP BY order_id
),
-- One row an order, also when it has no payment yet.
accounts AS MATERIALIZED (
    SELECT s.id, s.ordered_on, s.customer_id, s.customer,
           coalesce(i.amount, 0.00) AS invoiced,
           coalesce(i.units, 0) AS units,
           coalesce(p.amount, 0.00) AS paid
    FROM selected AS s
    LEFT JOIN invoiced AS i ON i.order_id = s.id
    LEFT JOIN LATERAL (SELECT sum(amount) AS amount FROM payments WHERE order_id = s.id) AS p ON true
),
totals AS (
    SELECT count(*) AS orders,
           count(DISTINCT customer_id) AS customers,
           coalesce(sum(units), 0) AS units,
           coalesce(sum(invoiced), 0.00) AS invoiced,
           coalesce(sum(paid), 0.00) AS paid,
           count(*) FILTER (WHERE paid < invoiced) AS unpaid_orders
    FROM accounts
)
SELECT json_build_object(
    'organization', json_build_object('id', g.id, 'name', g.name, 'currency', g.currency),
    'period', json_build_object('from', :from, 'to', :to, 'region', :region),
    'totals', json_build_object(
        'orders', t.orders,
        'customers', t.customers,
        'units', t.units,
        'revenue', t.invoiced,
        'average_order', round(t.invoiced / nullif(t.orders, 0), 2)),
    'receivables', json_build_object(
        'invoiced', t.invoiced,
        'paid', t.paid,
        'open', t.invoiced - t.paid,
        'unpaid_orders', t.unpaid_orders),
    'revenue_by_category', (
        SELECT coalesce(json_agg(r ORDER BY r.revenue DESC, r.category), '[]')
        FROM (SELECT category, sum(quantity) AS units, sum(amount) AS revenue
              FROM lines GROUP BY category) AS r),
    'top_products', (
        SELECT coalesce(json_agg(r ORDER BY r.revenue DESC, r.id), '[]')
        FROM (SELECT product_id AS id, product AS name, category, sum(quantity) AS units, sum(amount) AS revenue
              FROM lines GROUP BY product_id, product, category
              ORDER BY revenue DESC, product_id LIMIT 10) AS r),
    'top_customers', (
        SELECT coalesce(json_agg(r ORDER BY r.revenue DESC, r.id), '[]')
        FROM (SELECT customer_id AS id, customer AS name, count(*) AS orders,
                     sum(invoiced) AS revenue, sum(invoiced) - sum(paid) AS open
              FROM accounts GROUP BY customer_id, customer
              ORDER BY revenue DESC, customer_id LIMIT 10) AS r),
    'orders_per_day', (
        SELECT coalesce(json_agg(r ORDER BY r.day), '[]')
        FROM (SELECT ordered_on AS day, count(*) AS orders, sum(invoiced) AS revenue
              FROM accounts GROUP BY ordered_on) AS r)
) AS dashboard
FROM organizations AS g, totals AS t
WHERE g.id = :org
