\set order random(1, :orders - 9)
UPDATE orders SET status = CASE status WHEN 'pending' THEN 'confirmed' ELSE 'pending' END
WHERE id BETWEEN :order AND :order + 9;
