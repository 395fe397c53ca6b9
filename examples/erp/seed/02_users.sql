-- Five users an organization; user 42 works for organization 42.
INSERT INTO users (id, org_id, name, email, role, created_at)
SELECT
    n,
    1 + (n - 1) % orgs,
    (ARRAY['Ada', 'Ben', 'Cleo', 'Dev', 'Eva', 'Finn', 'Gita', 'Hugo', 'Ines', 'Jan', 'Kaya'])[1 + n % 11]
        || ' ' || (ARRAY['Abel', 'Berg', 'Costa', 'Dietz', 'Engel', 'Ferri', 'Gomez'])[1 + n % 7],
    'user' || n || '@example.com',
    (ARRAY['admin', 'manager', 'accountant', 'clerk', 'clerk'])[1 + (n - 1) / orgs],
    timestamptz '2023-02-01 08:00:00+00' + n * interval '1 hour'
FROM (SELECT current_setting('erp.organizations')::bigint AS orgs) AS size,
     generate_series(1, 5 * orgs) AS n;

SELECT setval(pg_get_serial_sequence('users', 'id'), (SELECT max(id) FROM users));
