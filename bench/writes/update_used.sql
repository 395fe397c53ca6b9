\set order random(1, :orders)
UPDATE orders SET status = CASE status WHEN 'pending' THEN 'confirmed' ELSE 'pending' END WHERE id = :order;
