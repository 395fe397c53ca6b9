-- Stock of every product: 1 000 to 10 999 on hand.
INSERT INTO inventory (product_id, on_hand, reorder_at, warehouse, updated_at)
SELECT
    id,
    1000 + id * 3266489917 % 4294967296 % 10000,
    100 + id % 5 * 50,
    (ARRAY['main', 'north', 'south'])[1 + id % 3],
    timestamptz '2024-01-01 06:00:00+00'
FROM products;
