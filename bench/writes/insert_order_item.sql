\set order random(1, :orders)
\set product random(1, :products)
INSERT INTO order_items (order_id, product_id, quantity, unit_price) VALUES (:order, :product, 1, 1) ON CONFLICT DO NOTHING;
