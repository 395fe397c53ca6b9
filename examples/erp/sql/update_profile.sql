-- Changes a user's name or e-mail address or both; what is not given stays.
UPDATE users
SET name = coalesce(:name, name), email = coalesce(:email, email)
WHERE id = :id
RETURNING id, name, email, role
