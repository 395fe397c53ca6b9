-- One order: its customer, its lines, what it costs and what has been paid.
SELECT o.id, o.org_id AS org, o.status, o.ordered_on, o.created_by,
       json_build_object('id', c.id, 'name', c.name, 'region', c.region) AS customer,
       i.total,
       coalesce((SELECT sum(p.amount) FROM payments AS p WHERE p.order_id = o.id), 0.00) AS paid,
       i.items
FROM orders AS o
JOIN customers AS c ON c.id = o.customer_id
CROSS JOIN LATERAL (
    SELECT coalesce(sum(l.amount), 0.00) AS total,
           coalesce(json_agg(l ORDER BY l.product), '[]') AS items
    FROM (SELECT p.id AS product, p.name, i.quantity, i.unit_price, i.quantity * i.unit_price AS amount
          FROM order_items AS i
          JOIN products AS p ON p.id = i.product_id
          WHERE i.order_id = o.id) AS l
) AS i
WHERE o.id = :id
