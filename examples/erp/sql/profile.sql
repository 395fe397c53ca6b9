-- Who a user is, where they work, and how many orders they have entered.
SELECT u.id, u.name, u.email, u.role,
       json_build_object('id', g.id, 'name', g.name) AS organization,
       (SELECT count(*) FROM orders AS o WHERE o.created_by = u.id) AS orders
FROM users AS u
JOIN organizations AS g ON g.id = u.org_id
WHERE u.id = :id
