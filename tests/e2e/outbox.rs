//! The outbox as others than triggers use it.

use sqlx::Connection as _;
use tidemark_origin::relay::outbox;
use tidemark_shared::scope::Scope;
use tidemark_tests::stack::Database;

#[tokio::test]
async fn what_is_recorded_is_what_is_visible() {
    let database = Database::erp().await.unwrap();
    let scopes = [
        Scope::Table("orders".to_owned()),
        Scope::Family("org".to_owned()),
        Scope::member("org", "42"),
        Scope::member("user", "a}: *%"),
        Scope::member("user", &"long".repeat(40)),
    ];
    let mut connection = database.connect().await.unwrap();
    let mut transaction = connection.begin().await.unwrap();
    outbox::record(&mut transaction, &scopes).await.unwrap();
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
    // A key is resolved to the member that it belongs to now.
    assert!(found.contains(&&Scope::member("org", "43")), "{found:?}");

    transaction.rollback().await.unwrap();
    assert_eq!(outbox::visible(&mut connection).await.unwrap(), []);
}
