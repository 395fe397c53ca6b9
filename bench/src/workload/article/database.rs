//! What the database itself says: the customers, the totals of all dashboards, and orders entered past the
//! application.

use anyhow::Context as _;
use sqlx::PgConnection;

use super::{
    setting::{Key, Order, Region, Totals, Variant, Way},
    trace::Customers,
};

/// The customers of the organizations.
///
/// # Errors
/// The database is not there, or has other regions.
pub(super) async fn customers(database: &mut PgConnection) -> anyhow::Result<Customers> {
    let rows: Vec<(i32, i32, String)> =
        sqlx::query_as("SELECT org_id::int, id::int, region FROM customers ORDER BY org_id, id")
            .fetch_all(database)
            .await?;
    let mut customers = Customers::new();
    for (org, id, region) in rows {
        let region = region_named(&region)?;
        let org = customers.entry(u16::try_from(org)?).or_default();
        org.push((u32::try_from(id)?, region));
    }
    Ok(customers)
}

/// How many products there are.
///
/// # Errors
/// The database is not there.
pub(super) async fn products(database: &mut PgConnection) -> anyhow::Result<u32> {
    let count: i32 = sqlx::query_scalar("SELECT max(id)::int FROM products")
        .fetch_one(database)
        .await?;
    Ok(u32::try_from(count)?)
}

/// What each dashboard says now, by [`Key::place`]; in one statement, which also brings the tables to memory.
///
/// # Errors
/// The database is not there, or has other regions.
pub(super) async fn totals(
    database: &mut PgConnection,
    organizations: u16,
) -> anyhow::Result<Vec<Totals>> {
    let rows: Vec<(i32, String, i32, i64, i64)> = sqlx::query_as(
        "SELECT o.org_id::int, c.region, extract(month FROM o.ordered_on)::int, \
                count(*), coalesce(sum(i.units), 0)::bigint \
         FROM orders AS o \
         JOIN customers AS c ON c.id = o.customer_id \
         LEFT JOIN (SELECT order_id, sum(quantity) AS units FROM order_items GROUP BY order_id) AS i \
             ON i.order_id = o.id \
         WHERE o.status <> 'cancelled' AND o.ordered_on BETWEEN date '2025-01-01' AND date '2025-12-31' \
         GROUP BY 1, 2, 3",
    )
    .fetch_all(database)
    .await?;
    let mut totals = vec![Totals::default(); Key::count(organizations)];
    for (org, region, month, orders, units) in rows {
        let (region, month) = (region_named(&region)?, u8::try_from(month)?);
        for variant in Variant::all().filter(|variant| variant.covers(month, region)) {
            let key = Key {
                org: u16::try_from(org)?,
                variant,
            };
            let total = totals.get_mut(key.place());
            let total = total.with_context(|| format!("organization {org} of {organizations}"))?;
            total.orders += u64::try_from(orders)?;
            total.units += u64::try_from(units)?;
        }
    }
    Ok(totals)
}

fn region_named(name: &str) -> anyhow::Result<Region> {
    Region::named(name).with_context(|| format!("there is no region {name}"))
}

/// Enters an order as another service would: by one statement, which commits by itself.
///
/// # Errors
/// PostgreSQL refuses, or is not there.
pub(super) async fn enter(database: &mut PgConnection, order: &Order) -> sqlx::Result<()> {
    sqlx::query(
        "WITH entered AS ( \
             INSERT INTO orders (org_id, customer_id, ordered_on) \
             VALUES ($1, $2, $3::text::date) RETURNING id) \
         INSERT INTO order_items (order_id, product_id, quantity, unit_price) \
         SELECT id, $4, $5, 1.00 FROM entered",
    )
    .bind(i64::from(order.org))
    .bind(i64::from(order.customer))
    .bind(order.day.date())
    .bind(i64::from(order.product))
    .bind(Way::Elsewhere.units() as i32)
    .execute(database)
    .await?;
    Ok(())
}
