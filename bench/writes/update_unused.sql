\set order random(1, :orders)
UPDATE orders SET created_at = clock_timestamp() WHERE id = :order;
