-- Changes what a product costs from now on; orders keep the price of their day.
UPDATE products
SET price = :price
WHERE id = :id
RETURNING id, sku, name, category, price
