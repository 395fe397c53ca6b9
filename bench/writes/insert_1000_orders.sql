\set org random(1, :organizations)
INSERT INTO orders (org_id, customer_id) SELECT :org, :org FROM generate_series(1, 1000);
