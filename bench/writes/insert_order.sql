\set org random(1, :organizations)
INSERT INTO orders (org_id, customer_id) VALUES (:org, :org);
