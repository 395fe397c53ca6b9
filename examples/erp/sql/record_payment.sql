-- Records money that came in for an order.
INSERT INTO payments (order_id, amount, method, paid_on)
SELECT o.id, :amount, :method, coalesce(:date, CURRENT_DATE)
FROM orders AS o
WHERE o.id = :id
RETURNING id, order_id AS "order", amount, method, paid_on
