-- Customers, dealt out to the organizations in turn: customer 42 belongs to organization 42.
INSERT INTO customers (id, org_id, name, email, region, created_at)
SELECT
    n,
    1 + (n - 1) % orgs,
    (ARRAY['Northwind', 'Harbour', 'Sunrise', 'Old Mill', 'Riverside', 'Granite', 'Lantern', 'Meadow', 'Copper'])[1 + n % 9]
        || ' ' || (ARRAY['Market', 'Hotel', 'Garage', 'School', 'Clinic', 'Studio', 'Bakery'])[1 + n % 7]
        || ' ' || n,
    'buyer' || n || '@example.net',
    (ARRAY['north', 'south', 'east', 'west'])[1 + n * 2654435761 % 4294967296 * 4 / 4294967296],
    timestamptz '2023-03-01 08:00:00+00' + n * interval '10 minutes'
FROM (SELECT current_setting('erp.organizations')::bigint AS orgs) AS size,
     generate_series(1, current_setting('erp.customers')::bigint) AS n;

SELECT setval(pg_get_serial_sequence('customers', 'id'), (SELECT max(id) FROM customers));
