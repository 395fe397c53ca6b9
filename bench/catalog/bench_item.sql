SELECT id, name, price FROM bench_items WHERE id = :id
