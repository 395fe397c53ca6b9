-- The benchmarks' own tables, beside the example's.
CREATE TABLE bench_items (
    id    bigint PRIMARY KEY,
    name  text NOT NULL,
    price numeric(12,2) NOT NULL
);
INSERT INTO bench_items (id, name, price)
SELECT n, 'item ' || n, n % 1000 + 0.5 FROM generate_series(1, 1000) AS n;
