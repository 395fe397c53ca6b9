-- Fresh statistics: without them the first dashboards are planned blindly.
ANALYZE organizations, users, customers, products, inventory, orders, order_items, payments, reports;
