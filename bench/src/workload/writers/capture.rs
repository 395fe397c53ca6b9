//! Writers on two databases with the same data: one that knows nothing of Tidemark, and one with its triggers.
//!
//! Nothing takes rows out of the outbox meanwhile but this, between the rounds: the relay's own work is not part
//! of what a writer waits for.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{
    load::{Writers, Writes},
    say,
    site::Site,
    statistics::rotated,
};

/// What writers write: its name, the transaction, and whether only one writes at a time, because others would
/// only wait for its rows.
const WRITES: [(&str, &str, bool); 6] = [
    (
        "insert one order",
        include_str!("../../../writes/insert_order.sql"),
        false,
    ),
    (
        "insert one order item",
        include_str!("../../../writes/insert_order_item.sql"),
        false,
    ),
    (
        "insert 1 000 orders",
        include_str!("../../../writes/insert_1000_orders.sql"),
        true,
    ),
    (
        "update a used column",
        include_str!("../../../writes/update_used.sql"),
        false,
    ),
    (
        "update an unused column",
        include_str!("../../../writes/update_unused.sql"),
        false,
    ),
    (
        "update 1 000 unused",
        include_str!("../../../writes/update_1000_unused.sql"),
        true,
    ),
];

/// All kinds of writes.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Capture {
    /// How many write at a time.
    pub clients: u32,
    /// By kind.
    pub kinds: Vec<Kind>,
}

/// One kind of write, round by round.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Kind {
    /// What is written.
    pub name: String,
    /// Transactions a second without capture.
    pub plain: Vec<f64>,
    /// Transactions a second with it.
    pub captured: Vec<f64>,
    /// Rows that the last round left in the outbox.
    pub recorded: i64,
}

/// Measures so many rounds of so much time.
///
/// # Errors
/// PostgreSQL refuses something.
pub async fn measure(
    site: &Site,
    rounds: usize,
    time: Duration,
    clients: u32,
) -> anyhow::Result<Capture> {
    let plain = site.plain_database("plain").await?;
    let captured = site.database("captured").await?;
    let mut kinds = Vec::new();
    for (name, script, alone) in WRITES {
        say(format_args!("capture: {name}, {rounds} rounds"));
        let writes = Writes::of(script)?;
        let writers = Writers {
            clients: if alone { 1 } else { clients },
            time,
            rate: None,
        };
        let mut kind = Kind {
            name: name.to_owned(),
            plain: Vec::new(),
            captured: Vec::new(),
            recorded: 0,
        };
        for round in 0..rounds {
            captured.run("TRUNCATE tidemark.outbox").await?;
            plain.run("CHECKPOINT").await?;
            let mut rates = [0.0; 2];
            for (place, database) in rotated(&[(0, &plain), (1, &captured)], round) {
                rates[*place] = writes.run(database, site.size().scale(), writers).await?;
            }
            kind.plain.push(rates[0]);
            kind.captured.push(rates[1]);
            kind.recorded = captured
                .number("SELECT count(*) FROM tidemark.outbox")
                .await?;
        }
        kinds.push(kind);
    }
    captured.run("TRUNCATE tidemark.outbox").await?;
    Ok(Capture { clients, kinds })
}
