//! What a request costs: a hit one Redis command and nothing else, a miss one SQL query.

use tidemark_tests::stack::Stack;

use crate::support::{HIT, dashboard};

#[tokio::test]
async fn a_hit_is_one_redis_command_and_no_query() {
    let stack = Stack::with().log_statements().start().await;
    let mut monitor = stack.redis.monitor().await.unwrap();
    stack.hit(&dashboard(42)).await;
    let queries = stack.statements().await.len();
    monitor.commands().await.unwrap();

    const READS: usize = 30;
    let mut misses = 0;
    for _ in 0..READS {
        misses += usize::from(stack.read(&dashboard(42)).await.cache_status() != HIT);
    }
    // Misses only if the machine is so busy that the relay could not prove some of them.
    assert!(misses < READS / 2, "{misses} of {READS} were no hits");
    let (lookups, others): (Vec<_>, Vec<_>) = monitor
        .commands()
        .await
        .unwrap()
        .into_iter()
        .partition(|command| command.starts_with("\"MGET\" \"tm:{org:42}:dashboard:"));
    assert_eq!(lookups.len(), READS, "{lookups:#?}");
    // Each of them takes a lease, stores its answer and gives the lease back.
    assert!(others.len() <= 3 * misses, "{others:#?}");
    assert_eq!(stack.statements().await.len() - queries, misses);
}

#[tokio::test]
async fn a_miss_is_one_query() {
    let stack = Stack::with().log_statements().start().await;
    // The connection's own set-up is not a query, but let it be done.
    stack.read(&dashboard(41)).await;
    for org in [42, 43, 44] {
        let before = stack.statements().await.len();
        stack.read(&dashboard(org)).await;
        let statements = stack.statements().await;
        assert_eq!(statements.len(), before + 1, "{statements:#?}");
    }
}

#[tokio::test]
async fn a_miss_writes_missing_stamps_and_one_entry() {
    let stack = Stack::start().await;
    let mut monitor = stack.redis.monitor().await.unwrap();
    stack.hit(&dashboard(42)).await;
    let commands = monitor.commands().await.unwrap();
    let count = |prefix: &str| {
        let of_kind = commands
            .iter()
            .filter(|command| command.starts_with(prefix));
        of_kind.count()
    };
    // All of the six tables tell whose their rows are, and one part covers a quarter. All at once, where the
    // tidemark is.
    let stamps = "\"4\" \"tm:tidemark\" \"tm:{org:42}\" \"tm:{org:*}\" \"tm:{org:42}?";
    let stamping = commands.iter().filter(|command| command.contains(stamps));
    assert_eq!(stamping.count(), 1, "{commands:#?}");
    // Nor are they read back by a step of its own.
    assert_eq!(count("\"MGET\" \"tm:tidemark\""), 0, "{commands:#?}");
    assert!(
        count("\"SET\" \"tm:{org:42}:dashboard:") >= 1,
        "{commands:#?}"
    );
    let lease = "\"tm:lease:{org:42}:dashboard:";
    assert!(count(&format!("\"SET\" {lease}")) >= 1, "{commands:#?}");
    // Only what the design names: whoever reads has no business with KEYS, SCAN or scripts, but for those
    // that give stamps, and the lease back.
    assert!(
        commands.iter().all(|command| {
            if command.starts_with("\"EVAL\"") {
                return command.contains(lease) || command.contains(stamps);
            }
            [
                "\"MGET\"",
                "\"SET\"",
                "\"HELLO\"",
                "\"AUTH\"",
                "\"CLIENT\"",
                "\"SELECT\"",
            ]
            .iter()
            .any(|known| command.to_uppercase().starts_with(known))
        }),
        "{commands:#?}"
    );
}
