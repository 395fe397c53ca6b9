-- Products in ten categories, from 1.00 to about 900.00, most of them cheap. No organization owns one.
INSERT INTO products (id, sku, name, category, price, created_at)
SELECT
    n,
    'SKU-' || lpad(n::text, 6, '0'),
    (ARRAY['Basic', 'Classic', 'Compact', 'Deluxe', 'Heavy', 'Light', 'Smart'])[1 + n % 7] || ' '
        || (ARRAY['Lamp', 'Chair', 'Drill', 'Kettle', 'Backpack', 'Notebook', 'Scale', 'Clock', 'Fan', 'Shelf', 'Bottle'])[1 + n % 11]
        || ' ' || n,
    (ARRAY['lighting', 'furniture', 'tools', 'kitchen', 'travel', 'office', 'garden', 'textiles', 'sports', 'toys'])[1 + n % 10],
    round((1 + 899 * u * u * u)::numeric, 2),
    timestamptz '2023-04-01 08:00:00+00' + n * interval '5 minutes'
FROM generate_series(1, current_setting('erp.products')::bigint) AS n,
     LATERAL (SELECT n * 2246822519 % 4294967296 / 4294967296.0::float8 AS u) AS draw;

SELECT setval(pg_get_serial_sequence('products', 'id'), (SELECT max(id) FROM products));
