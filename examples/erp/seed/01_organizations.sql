-- Seed data, file 1 of 10. The loader says how much, in the session that runs these files in order:
--
--     setting             full      demo   tests
--     erp.organizations      200       200      50     at least 43 (the examples use 42 and 43)
--     erp.customers       20 000     2 000     100     at least one an organization
--     erp.products         5 000       500      40     at least 30
--     erp.orders         400 000    20 000     500     items (3 an order) and payments (1 an order) follow
--
--     SET erp.orders = 400000;   -- and so on
--
-- The data is a function of these numbers alone: no random(), no now(). Where a file wants chance, it
-- takes row × multiplier mod 2^32, which visits 0 … 2^32 evenly and looks unordered. Squares and cubes of
-- such a number favour the small ones: u * u rather than power(u, 2), which differs between C libraries.
INSERT INTO organizations (id, name, country, currency, created_at)
SELECT
    n,
    (ARRAY['Alder', 'Birch', 'Cedar', 'Dogwood', 'Elm', 'Fir', 'Gorse', 'Hazel', 'Ivy', 'Juniper'])[1 + n % 10]
        || ' ' || (ARRAY['Trading', 'Supply', 'Works', 'Foods', 'Tools', 'Textiles', 'Books'])[1 + n % 7]
        || ' ' || n,
    (ARRAY['DE', 'FR', 'IT', 'PL', 'ES', 'NL', 'SE', 'PT'])[1 + n % 8],
    'EUR',
    timestamptz '2023-01-02 08:00:00+00' + n * interval '24 hours'
FROM generate_series(1, current_setting('erp.organizations')::bigint) AS n;

SELECT setval(pg_get_serial_sequence('organizations', 'id'), (SELECT max(id) FROM organizations));
