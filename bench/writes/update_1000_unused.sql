\set order random(1, greatest(:orders - 999, 1))
UPDATE orders SET created_at = clock_timestamp() WHERE id BETWEEN :order AND :order + 999;
