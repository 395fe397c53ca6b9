-- Two saved reports an organization: 42 is organization 42's first quarter of 2025, and
-- 42 + (number of organizations) its year 2025.
INSERT INTO reports (id, org_id, title, period_from, period_to, created_at)
SELECT n, n, 'First quarter 2025', date '2025-01-01', date '2025-03-31', timestamptz '2025-04-01 08:00:00+00'
FROM generate_series(1, current_setting('erp.organizations')::bigint) AS n
UNION ALL
SELECT n + orgs, n, 'Year 2025', date '2025-01-01', date '2025-12-31', timestamptz '2026-01-02 08:00:00+00'
FROM (SELECT current_setting('erp.organizations')::bigint AS orgs) AS size,
     generate_series(1, orgs) AS n
ORDER BY 1;

SELECT setval(pg_get_serial_sequence('reports', 'id'), (SELECT max(id) FROM reports));
