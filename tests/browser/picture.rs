//! The picture in `docs/`, made of the demo under some traffic:
//! `cargo test --test browser -- --ignored picture`.

use std::{env, fs, time::Duration};

use sqlx::{AssertSqlSafe, Connection as _, PgConnection};
use tidemark_tests::{
    demo::{Demo, DemoConfig},
    edge::Runner,
    erp::Size,
    postgres, tools,
    traffic::Traffic,
};
use tokio::time;

use crate::{
    chromium::{Scheme, View},
    console::{dashboard, open_at, show_organization},
    turn,
};

/// So that the charts are full.
const SPAN: Duration = Duration::from_secs(300);

/// How often something changes.
const CHANGES: Duration = Duration::from_secs(3);

/// How much time each client leaves between two requests.
const PACE: Duration = Duration::from_millis(30);

/// What is read beside dashboards.
const OTHERS: [&str; 4] = [
    "/products?category=tools",
    "/order/42",
    "/user/7/profile",
    "/inventory/7",
];

#[tokio::test]
#[ignore = "takes five minutes and writes docs/console.png"]
async fn picture() {
    let _turn = turn().await;
    let folder = postgres::new_folder(&env::temp_dir(), "tidemark-demo-").unwrap();
    let demo = Demo::start(&DemoConfig {
        folder: folder.path().to_owned(),
        size: Size::Demo,
        runner: Runner::Host,
        edge_port: 0,
        origin_port: 0,
    })
    .await
    .unwrap();
    let page = open_at(demo.origin()).await;
    page.view(View {
        width: 1440,
        height: 1300,
        scheme: Scheme::Light,
    })
    .await;
    // The largest one.
    show_organization(&page, 1).await;

    let mut paths: Vec<_> = (1..=20).map(dashboard).collect();
    for (place, other) in OTHERS.into_iter().enumerate() {
        paths.insert(2 * place + 1, other.to_owned());
    }
    let traffic = Traffic {
        edge: demo.edge().to_owned(),
        paths,
        clients: 6,
        pace: PACE,
    };
    let running = traffic.start(1);
    let mut database = PgConnection::connect(&demo.database()).await.unwrap();
    for org in (1..=20).cycle() {
        if running.now() > SPAN {
            break;
        }
        let sql = format!(
            "UPDATE orders SET status = CASE status WHEN 'shipped' THEN 'delivered' ELSE 'shipped' END
             WHERE id = (SELECT max(id) FROM orders WHERE org_id = {org} AND status <> 'cancelled')"
        );
        let change = sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut database);
        change.await.unwrap();
        time::sleep(CHANGES).await;
    }
    page.click("#place-order").await;
    page.says("#demo-outcome", |text| text.contains("the edge had it"))
        .await;
    let file = tools::repository().join("docs/console.png");
    fs::write(file, page.picture().await).unwrap();
    database.close().await.unwrap();
    drop(running);
    demo.stop();
}
