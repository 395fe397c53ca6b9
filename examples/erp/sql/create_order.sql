-- Enters an order at today's prices and takes its items from stock; answers its number, total and status.
--
-- First the stock is locked, always in the order of product ids: two orders for the same products wait
-- for each other and never deadlock.
SELECT product_id
FROM inventory
WHERE product_id IN (SELECT product FROM jsonb_to_recordset(:items) AS i (product bigint))
ORDER BY product_id
FOR NO KEY UPDATE;

-- Then everything at once. What must not be is refused by a constraint (422): a customer or user of
-- another organization, an unknown product, a quantity below one, more than is on hand. No such
-- organization gives no row (404).
WITH
-- Lines for the same product become one. A quantity below one in any of them survives, to be refused.
wanted AS (
    SELECT product,
           least(CASE WHEN min(quantity) > 0 THEN sum(quantity) ELSE min(quantity) END, 2000000000) AS quantity
    FROM jsonb_to_recordset(:items) AS i (product bigint, quantity bigint)
    GROUP BY product
),
created AS (
    INSERT INTO orders (org_id, customer_id, created_by, ordered_on)
    SELECT g.id, :customer, :user, coalesce(:date, CURRENT_DATE)
    FROM organizations AS g
    WHERE g.id = :org
    RETURNING id, org_id, customer_id, status, ordered_on
),
items AS (
    -- The outer joins keep what does not fit, for the constraints to refuse: an order without items is
    -- one item of quantity 0, an unknown product one without a price.
    INSERT INTO order_items (order_id, product_id, quantity, unit_price)
    SELECT c.id,
           coalesce(w.product, 0),
           greatest(coalesce(w.quantity, 0), 0)::integer,
           coalesce(p.price, 0)
    FROM created AS c
    LEFT JOIN wanted AS w ON true
    LEFT JOIN products AS p ON p.id = w.product
    ORDER BY w.product
    RETURNING product_id, quantity, unit_price
),
taken AS (
    UPDATE inventory AS v
    SET on_hand = v.on_hand - i.quantity, updated_at = now()
    FROM items AS i
    WHERE v.product_id = i.product_id
)
SELECT json_build_object(
    'id', c.id,
    'org', c.org_id,
    'customer', c.customer_id,
    'status', c.status,
    'ordered_on', c.ordered_on,
    'total', (SELECT sum(i.quantity * i.unit_price) FROM items AS i)) AS created_order
FROM created AS c
