-- A saved report: revenue of its organization in its period, by month and product category.
SELECT to_char(o.ordered_on::timestamp, 'YYYY-MM') AS month,
       p.category,
       count(DISTINCT o.id) AS orders,
       sum(i.quantity) AS units,
       sum(i.quantity * i.unit_price) AS revenue
FROM reports AS r
JOIN orders AS o ON o.org_id = r.org_id
                AND o.ordered_on BETWEEN r.period_from AND r.period_to
                AND o.status <> 'cancelled'
JOIN order_items AS i ON i.order_id = o.id
JOIN products AS p ON p.id = i.product_id
WHERE r.id = :id
GROUP BY month, p.category
ORDER BY month, p.category
