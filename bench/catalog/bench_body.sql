-- About as many bytes as asked for, of which about half is redundant, as in most JSON.
SELECT json_build_object(
    'item', (SELECT name FROM bench_items WHERE id = 1),
    'body', (SELECT left(string_agg(md5(n::text), ''), greatest(:bytes::integer - 40, 0))
             FROM generate_series(0, :bytes::integer / 32) AS n)
)
