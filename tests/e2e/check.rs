//! What `tidemark-origin check` says of each kind of mistake.

use std::fs;

use tempfile::TempDir;
use tidemark_tests::stack::Database;

use crate::support::{Ran, origin, origin_on};

const TABLES: &str = "
    CREATE TABLE orgs (id bigint PRIMARY KEY, name text);
    CREATE TABLE orders (id bigint PRIMARY KEY, org_id bigint NOT NULL REFERENCES orgs, total numeric);
    CREATE TABLE items (id bigint PRIMARY KEY, order_id bigint NOT NULL, price numeric);
    CREATE TABLE twice (id bigint, buyer bigint REFERENCES orgs, seller bigint REFERENCES orgs);
    CREATE VIEW order_view AS SELECT * FROM orders;
";

const CATALOG: &str = r#"[query.orders]
path   = "/org/{org}/orders"
params = { org = "int", after = "int = 0" }
sql    = "orders.sql"
reads  = ["orders"]
scope  = "org:{org}"

[command.rename]
method = "PUT"
path   = "/org/{org}"
params = { org = "int", name = "text" }
sql    = "rename.sql"

[table.orders]
scope = "org:{org_id}"
"#;

const QUERY: &str = "SELECT id, total FROM orders\nWHERE org_id = :org AND id > :after\n";
const COMMAND: &str = "UPDATE orgs SET name = :name WHERE id = :org RETURNING id";

/// The catalog above with changes, on a database of its own.
struct Case {
    database: Database,
    folder: TempDir,
}

impl Case {
    async fn new() -> Self {
        let database = Database::empty().await.unwrap();
        database.run(TABLES).await.unwrap();
        Self {
            database,
            folder: TempDir::new().unwrap(),
        }
    }

    fn check(&self, catalog: &str, query: &str, command: &str) -> Ran {
        let folder = self.folder.path();
        fs::write(folder.join("tidemark.toml"), catalog).unwrap();
        fs::write(folder.join("orders.sql"), query).unwrap();
        fs::write(folder.join("rename.sql"), command).unwrap();
        let mut config = origin_on(&self.database);
        config.catalog = folder.to_owned();
        origin(&config, &["check"])
    }

    /// Fails unless the check fails with all of these words.
    fn refused(&self, catalog: &str, query: &str, command: &str, words: &[&str]) {
        let Ran {
            success,
            stdout,
            stderr,
        } = self.check(catalog, query, command);
        assert!(!success, "{stdout}");
        let said = format!("{stdout}\n{stderr}");
        for word in words {
            assert!(said.contains(word), "no {word:?} in: {said}");
        }
    }

    fn catalog_refused(&self, from: &str, to: &str, words: &[&str]) {
        assert!(CATALOG.contains(from), "{from}");
        self.refused(&CATALOG.replace(from, to), QUERY, COMMAND, words);
    }
}

#[tokio::test]
async fn a_catalog_that_fits_is_told_so() {
    let case = Case::new().await;
    let well = case.check(CATALOG, QUERY, COMMAND);
    assert!(well.success, "{well:?}");
    assert_eq!(well.stdout, "all is well: 1 queries, 1 commands\n");

    let example = origin(
        &origin_on(&Database::plain_erp().await.unwrap()),
        &["check"],
    );
    assert!(example.success, "{example:?}");
}

#[tokio::test]
async fn a_mistake_in_the_catalog_is_named_with_file_line_and_remedy() {
    let case = Case::new().await;
    for (from, to, words) in [
        (
            "sql    = \"orders.sql\"",
            "sequel = \"orders.sql\"",
            ["tidemark.toml:4: ", "unknown field `sequel`"],
        ),
        (
            "scope  = \"org:{org}\"",
            "scope  = \"org:{company}\"",
            ["tidemark.toml:6: ", "{company}"],
        ),
        (
            "org = \"int\", after",
            "org = \"integer\", after",
            ["tidemark.toml:3: ", "int, decimal, bool"],
        ),
        (
            "\"PUT\"",
            "\"GET\"",
            [
                "tidemark.toml:9: ",
                "\"POST\", \"PUT\", \"PATCH\" or \"DELETE\"",
            ],
        ),
        (
            "[table.orders]",
            "[table.order]\nscope = \"org:{id}\"\n[table.orders]",
            ["tidemark.toml:14: ", "no query reads the table \"order\""],
        ),
        (
            "reads  = [\"orders\"]",
            "reads  = [",
            ["tidemark.toml:", "write: "],
        ),
        (
            "path   = \"/org/{org}/orders\"",
            "path   = \"/healthz\"",
            ["tidemark.toml:2: ", "reserved"],
        ),
    ] {
        case.catalog_refused(from, to, &words);
    }
}

#[tokio::test]
async fn a_mistake_in_the_sql_is_named_with_its_file() {
    let case = Case::new().await;
    let query = |sql: &str, words: &[&str]| case.refused(CATALOG, sql, COMMAND, words);
    query(
        "SELECT id FROM orders WHERE org_id = :org\nAND id > :ofter",
        &["orders.sql: line 2: ", ":ofter"],
    );
    query(
        "SELECT id FROM orders WHERE org_id = :org",
        &["orders.sql: ", "\"after\" is declared but never used"],
    );
    query(
        "SELECT id FROM orders WHERE org_id = $1",
        &["orders.sql: line 1: $1", "write :name"],
    );
    query(
        "SELECT 1; SELECT 2 WHERE :org > :after",
        &["orders.sql: ", "a query is one statement"],
    );
    query("-- later", &["orders.sql: ", "no statement"]);
    query("SELECT 'open", &["orders.sql: ", "not SQL"]);
    query(
        "SELECT idd FROM orders WHERE org_id = :org AND id > :after",
        &[
            "query \"orders\" (orders.sql)",
            "PostgreSQL can't prepare it",
            "\"idd\" does not exist",
        ],
    );
    query(
        "SELECT id FROM ordres WHERE org_id = :org AND id > :after",
        &["query \"orders\" (orders.sql)", "\"ordres\" does not exist"],
    );
    query(
        "SELECT id FROM orders WHERE total = :org::text AND id > :after",
        &["query \"orders\" (orders.sql)", "operator does not exist"],
    );
    case.refused(
        CATALOG,
        QUERY,
        "UPDATE orgs SET nome = :name WHERE id = :org RETURNING id",
        &["command \"rename\" (rename.sql)", "\"nome\""],
    );
}

#[tokio::test]
async fn tables_and_foreign_keys_are_held_against_the_database() {
    let case = Case::new().await;
    case.catalog_refused(
        "reads  = [\"orders\"]",
        "reads  = [\"orders\", \"ordres\"]",
        &[
            "query \"orders\"",
            "\"ordres\"",
            "no table of this database",
        ],
    );
    case.catalog_refused(
        "reads  = [\"orders\"]",
        "reads  = [\"orders\", \"order_view\"]",
        &["\"order_view\"", "no table of this database"],
    );
    case.catalog_refused(
        "scope = \"org:{org_id}\"",
        "scope = \"org:{organization}\"",
        &["table \"orders\"", "no column \"organization\""],
    );
    let with_items = |scope: &str| {
        let reads = CATALOG.replace(
            "reads  = [\"orders\"]",
            "reads  = [\"orders\", \"items\", \"twice\"]",
        );
        format!("{reads}\n{scope}")
    };
    case.refused(
        &with_items("[table.items]\nscope = \"org:{orders.org_id}\""),
        QUERY,
        COMMAND,
        &[
            "table \"items\"",
            "0 foreign keys lead from \"items\" to \"orders\"",
        ],
    );
    case.refused(
        &with_items("[table.twice]\nscope = \"org:{orgs.id}\""),
        QUERY,
        COMMAND,
        &[
            "table \"twice\"",
            "2 foreign keys lead from \"twice\" to \"orgs\"",
        ],
    );
    case.refused(
        &with_items("[table.items]\nscope = \"org:{ordres.org_id}\""),
        QUERY,
        COMMAND,
        &["\"ordres\"", "no table of this database"],
    );
}

#[tokio::test]
async fn all_findings_are_told_at_once() {
    let case = Case::new().await;
    let catalog = CATALOG.replace("reads  = [\"orders\"]", "reads  = [\"orders\", \"ordres\"]");
    let broken = "UPDATE orgs SET nome = :name WHERE id = :org RETURNING id";
    let ran = case.check(
        &catalog,
        "SELECT idd FROM orders WHERE org_id = :org AND id > :after",
        broken,
    );
    assert!(!ran.success);
    for word in ["\"ordres\"", "\"idd\"", "\"nome\""] {
        assert!(ran.stdout.contains(word), "{ran:?}");
    }
}

#[tokio::test]
async fn an_unsound_catalog_is_not_served() {
    let case = Case::new().await;
    let mut config = origin_on(&case.database);
    config.catalog = case.folder.path().to_owned();
    case.refused(
        CATALOG,
        "SELECT idd FROM orders WHERE org_id = :org AND id > :after",
        COMMAND,
        &["\"idd\""],
    );
    let serve = origin(&config, &["serve"]);
    assert!(!serve.success);
    assert!(
        serve.stderr.contains("does not fit the database"),
        "{serve:?}"
    );
    assert!(serve.stderr.contains("\"idd\" does not exist"), "{serve:?}");

    fs::write(case.folder.path().join("tidemark.toml"), "[query.x]\n").unwrap();
    let serve = origin(&config, &["serve"]);
    assert!(serve.stderr.contains("tidemark.toml:1: "), "{serve:?}");

    config.catalog = case.folder.path().join("nowhere");
    let serve = origin(&config, &["serve"]);
    assert!(
        serve.stderr.contains("cannot read") && serve.stderr.contains("nowhere"),
        "{serve:?}"
    );
}
