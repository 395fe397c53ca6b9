//! The outbox as others than triggers use it.

use sqlx::Connection as _;
use tidemark_origin::{purge, relay::outbox};
use tidemark_shared::{purge::Touched, scope::Scope};
use tidemark_tests::stack::Database;

#[tokio::test]
async fn what_is_recorded_is_what_a_change_touched() {
    let database = Database::erp().await.unwrap();
    let long = "long".repeat(40);
    let member = |family: &str, id: &str| Touched::Member {
        family: family.to_owned(),
        id: id.to_owned(),
    };
    let touched = [
        Touched::Table("orders".to_owned()),
        Touched::Family("org".to_owned()),
        member("org", "42"),
        member("user", "a}: *%"),
        member("user", &long),
    ];
    let scopes = [
        Scope::Table("orders".to_owned()),
        Scope::Family("org".to_owned()),
        Scope::member("org", "42"),
        Scope::member("user", "a}: *%"),
        Scope::member("user", &long),
    ];
    let mut connection = database.connect().await.unwrap();
    let mut transaction = connection.begin().await.unwrap();
    purge::record(&mut transaction, &touched.into())
        .await
        .unwrap();
    sqlx::query("INSERT INTO order_items (order_id, product_id, quantity, unit_price) SELECT id, 40, 1, 1 FROM orders WHERE org_id = 43 LIMIT 1")
        .execute(&mut *transaction)
        .await
        .unwrap();
    let visible = outbox::visible(&mut transaction).await.unwrap();
    let ids: Vec<_> = visible.iter().map(|row| row.id).collect();
    assert!(ids.is_sorted(), "{ids:?}");
    let found: Vec<_> = visible.iter().flat_map(|row| &row.scopes).collect();
    for scope in &scopes {
        assert!(found.contains(&scope), "no {scope} in {found:?}");
    }
    // A key is resolved to the member that it belongs to now, or a part of it.
    let of_43 = |scope: &&Scope| scope.of_member() == Some(("org", "43"));
    assert!(
        found.iter().copied().any(|scope| of_43(&scope)),
        "{found:?}"
    );

    transaction.rollback().await.unwrap();
    assert_eq!(outbox::visible(&mut connection).await.unwrap(), []);
}
