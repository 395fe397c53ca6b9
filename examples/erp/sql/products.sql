-- The price list, or one category of it, a page at a time: the next page starts after the last id.
SELECT p.id, p.sku, p.name, p.category, p.price
FROM products AS p
WHERE (:category IS NULL OR p.category = :category)
  AND p.id > :after
ORDER BY p.id
LIMIT least(greatest(:limit, 0), 1000)
