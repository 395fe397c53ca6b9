-- Moves an order to another status. A cancelled order leaves the dashboards.
UPDATE orders
SET status = :status
WHERE id = :id
RETURNING id, org_id AS org, status
