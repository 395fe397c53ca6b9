-- How many of a product are on the shelf right now.
SELECT p.id AS product, p.sku, p.name, v.on_hand, v.on_hand <= v.reorder_at AS reorder, v.warehouse
FROM inventory AS v
JOIN products AS p ON p.id = v.product_id
WHERE v.product_id = :product
