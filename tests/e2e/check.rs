//! What `tidemark-origin check` says of each kind of mistake.

use std::fs;

use tempfile::TempDir;
use tidemark_tests::stack::Database;

use crate::support::{Ran, assert_says, origin, origin_on, with_catalog};

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
        origin(&with_catalog(&self.database, folder), &["check"])
    }

    /// Fails unless the check fails with all of these words.
    fn refused(&self, catalog: &str, query: &str, command: &str, words: &[&str]) {
        let ran = self.check(catalog, query, command);
        assert!(!ran.success, "{ran:?}");
        assert_says(&ran, words);
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
            "there are 0 foreign keys between \"items\" and \"orders\"",
        ],
    );
    case.refused(
        &with_items("[table.twice]\nscope = \"org:{orgs.id}\""),
        QUERY,
        COMMAND,
        &[
            "table \"twice\"",
            "there are 2 foreign keys between \"twice\" and \"orgs\"",
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
    let mut config = with_catalog(&case.database, case.folder.path());
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

/// Tables of every kind that matters, and what hides them.
const SCHEMA: &str = "
    CREATE TABLE orgs (id bigint PRIMARY KEY, name text);
    CREATE TABLE orders (id bigint PRIMARY KEY, org_id bigint NOT NULL REFERENCES orgs, total numeric, note text);
    CREATE TABLE items (order_id bigint REFERENCES orders, id bigint, price numeric);
    CREATE VIEW order_view AS SELECT id, total FROM orders;
    CREATE SCHEMA sales;
    CREATE TABLE sales.orgs (id bigint, budget numeric);
    CREATE VIEW sales.nested AS SELECT v.id, b.budget FROM order_view v JOIN sales.orgs b USING (id);
    CREATE TABLE days (org_id bigint, day date, sold numeric) PARTITION BY RANGE (day);
    CREATE TABLE days_2025 PARTITION OF days FOR VALUES FROM ('2025-01-01') TO ('2026-01-01');
    CREATE TABLE people (id bigint, name text);
    CREATE TABLE staff (room text) INHERITS (people);
    CREATE MATERIALIZED VIEW daily_sales AS SELECT sum(total) AS sold FROM orders;
    CREATE FOREIGN DATA WRAPPER elsewhere;
    CREATE SERVER far FOREIGN DATA WRAPPER elsewhere;
    CREATE FOREIGN TABLE rates (currency text, rate numeric) SERVER far;
    CREATE TABLE parts (id bigint, day date) PARTITION BY RANGE (day);
    CREATE FOREIGN TABLE far_parts PARTITION OF parts FOR VALUES FROM ('2025-01-01') TO ('2026-01-01') SERVER far;
    CREATE SEQUENCE counter;
    CREATE FUNCTION price_of(item bigint) RETURNS numeric STABLE LANGUAGE sql
        AS 'SELECT price FROM public.items WHERE id = item';
    CREATE FUNCTION twice(n numeric) RETURNS numeric IMMUTABLE LANGUAGE sql AS 'SELECT 2 * n';
    CREATE FUNCTION near(a text, b text) RETURNS boolean STABLE LANGUAGE plpgsql
        AS 'BEGIN RETURN a LIKE b; END';
    CREATE OPERATOR ~~~ (LEFTARG = text, RIGHTARG = text, FUNCTION = near);
    CREATE FUNCTION add_priced(sum numeric, item bigint) RETURNS numeric STABLE LANGUAGE sql
        AS 'SELECT sum + price FROM public.items WHERE id = item';
    CREATE AGGREGATE worth(bigint) (SFUNC = add_priced, STYPE = numeric, INITCOND = '0');
";

/// One query on its own, in a database with [`SCHEMA`].
struct Lone {
    database: Database,
    folder: TempDir,
}

impl Lone {
    async fn new() -> Self {
        let database = Database::empty().await.unwrap();
        database.run(SCHEMA).await.unwrap();
        Self {
            database,
            folder: TempDir::new().unwrap(),
        }
    }

    /// Runs a command with a catalog of one query, made of this SQL and these other lines.
    fn run(&self, sql: &str, lines: &str, arguments: &[&str]) -> Ran {
        let config = with_catalog(&self.database, self.folder.path());
        let toml = format!("[query.q]\npath = \"/q\"\nsql = \"q.sql\"\n{lines}\n");
        fs::write(self.folder.path().join("tidemark.toml"), toml).unwrap();
        fs::write(self.folder.path().join("q.sql"), sql).unwrap();
        origin(&config, arguments)
    }

    #[track_caller]
    fn accepted(&self, sql: &str, lines: &str) {
        let ran = self.run(sql, lines, &["check"]);
        assert!(ran.success, "{sql}: {ran:?}");
        assert_eq!(ran.stdout, "all is well: 1 queries, 0 commands\n", "{sql}");
    }

    #[track_caller]
    fn refused(&self, sql: &str, lines: &str, words: &[&str]) {
        let ran = self.run(sql, lines, &["check"]);
        assert!(!ran.success, "{sql}: {ran:?}");
        assert_says(&ran, words);
        // One mistake, one finding.
        assert!(ran.stderr.contains("1 finding\n"), "{sql}: {ran:?}");
    }

    /// What `explain` says of the one table: which operations on it matter.
    #[track_caller]
    fn matters(&self, sql: &str, table: &str, operations: &str) {
        let ran = self.run(sql, &format!("reads = [{table:?}]"), &["explain", "q"]);
        let line = format!("  {table:<17}any row; insert, delete, {operations}\n");
        assert!(ran.success && ran.stdout.contains(&line), "{sql}: {ran:?}");
        assert!(!ran.stdout.contains("query \"q\""), "{sql}: {ran:?}");
    }
}

#[tokio::test]
async fn i1_a_table_that_a_query_reads_can_not_be_left_out() {
    let lone = Lone::new().await;
    let missing = |sql: &str, table: &str| {
        let words = [
            &format!("the SQL reads {table:?}, which is missing in reads"),
            &format!("write: reads = [\"items\", {table:?}]"),
        ];
        let sql = format!("{sql} -- and\nUNION ALL SELECT count(*) FROM items");
        lone.refused(&sql, "reads = [\"items\"]", &words.map(String::as_str));
        lone.accepted(&sql, &format!("reads = [\"items\", {table:?}]"));
    };
    for (sql, table) in [
        ("SELECT id FROM orders", "orders"),
        ("SELECT count(*) FROM orders", "orders"),
        ("SELECT 1 WHERE EXISTS (SELECT FROM orders)", "orders"),
        ("SELECT (SELECT max(id) FROM orders)", "orders"),
        ("SELECT id FROM order_view", "orders"),
        ("SELECT id FROM items NATURAL JOIN orders", "orders"),
        ("SELECT i.id FROM items i JOIN orders USING (id)", "orders"),
        (
            "SELECT 1 FROM items i, LATERAL (SELECT FROM orders o WHERE o.id = i.order_id) x",
            "orders",
        ),
        ("SELECT 1 FROM ONLY orders", "orders"),
        ("SELECT id FROM sales.orgs", "sales.orgs"),
        // Whoever writes by the parent's name fires the parent's triggers only.
        ("SELECT org_id FROM days_2025", "days"),
        ("SELECT id FROM staff", "people"),
        ("SELECT id FROM people", "people"),
    ] {
        missing(sql, table);
    }
    lone.refused(
        "SELECT budget FROM sales.nested, items",
        "reads = [\"items\", \"sales.orgs\"]",
        &["\"orders\", which is missing"],
    );
}

#[tokio::test]
async fn a_name_in_reads_is_a_table_that_the_sql_uses() {
    let lone = Lone::new().await;
    let sql = "SELECT id FROM orders";
    lone.refused(
        sql,
        "reads = [\"orders\", \"items\"]",
        &[
            "reads names \"items\", which the SQL does not use",
            "write: reads = [\"orders\"]",
        ],
    );
    lone.refused(
        sql,
        "reads = [\"orders\", \"ordres\"]",
        &["\"ordres\", which is no table of this database"],
    );
    // The same name in another schema is another table.
    lone.refused(
        "SELECT id FROM sales.orgs",
        "reads = [\"orgs\", \"sales.orgs\"]",
        &["\"orgs\", which the SQL does not use"],
    );
    lone.accepted("SELECT name FROM orgs", "reads = [\"public.orgs\"]");
    // There has to be something in reads.
    lone.accepted("VALUES (1), (2)", "reads = [\"orders\"]");
    lone.refused(
        "SELECT n.id FROM sales.nested n, orders, sales.orgs",
        "reads = [\"sales.nested\", \"orders\", \"sales.orgs\"]",
        &[
            "but a view",
            "name what it shows: \"orders\", \"sales.orgs\"",
        ],
    );
    lone.refused(
        "SELECT sold FROM daily_sales",
        "reads = [\"daily_sales\"]\nacknowledge = { daily_sales = \"it is refreshed nightly\" }",
        &["but a materialized view", "remove it from reads"],
    );
}

#[tokio::test]
async fn the_columns_that_matter_are_those_that_the_sql_uses() {
    let lone = Lone::new().await;
    for (sql, operations) in [
        ("SELECT count(*) FROM orders", "no update"),
        ("SELECT 1 WHERE EXISTS (SELECT FROM orders)", "no update"),
        (
            "SELECT total FROM orders WHERE org_id > 1",
            "update of org_id, total",
        ),
        ("SELECT id FROM order_view", "update of id, total"),
        (
            "SELECT a.note FROM orders a JOIN orders b USING (id)",
            "update of id, note",
        ),
        (
            "SELECT j.id FROM (orders a JOIN orders b USING (id)) AS j",
            "update of id",
        ),
        ("SELECT tableoid FROM orders", "no update"),
        // A row of a subquery is no row of the table.
        (
            "SELECT row_to_json(s) FROM (SELECT id, total FROM orders) s",
            "update of id, total",
        ),
        (
            "WITH s AS (SELECT total FROM orders) SELECT json_agg(s ORDER BY s.total) FROM s",
            "update of total",
        ),
        // Whole rows, of which pg_depend knows no columns.
        ("SELECT row_to_json(o) FROM orders o", "any update"),
        ("SELECT o::text FROM orders o", "any update"),
        ("SELECT count(o) FROM orders o", "any update"),
        (
            "SELECT (SELECT json_agg(o)) FROM orders o GROUP BY o",
            "any update",
        ),
        (
            "SELECT j FROM (orders a JOIN orders b USING (id)) AS j",
            "any update",
        ),
        ("SELECT 1 FROM orders o WHERE o IS NOT NULL", "any update"),
        // A system column changes with each update.
        ("SELECT xmin FROM orders", "any update"),
        ("SELECT id FROM orders ORDER BY ctid", "any update"),
    ] {
        lone.matters(sql, "orders", operations);
    }
    lone.matters("SELECT sold FROM days_2025", "days", "update of sold");
    // The parent has no such column.
    lone.matters("SELECT room FROM staff", "people", "any update");
}

#[tokio::test]
async fn i1_what_no_trigger_sees_is_named_until_it_is_acknowledged() {
    let lone = Lone::new().await;
    for (sql, name, why) in [
        (
            "SELECT sold FROM daily_sales",
            "daily_sales",
            "a materialized view",
        ),
        ("SELECT rate FROM rates", "rates", "a foreign table"),
        ("SELECT count(*) FROM parts", "far_parts", "a foreign table"),
        ("SELECT last_value FROM counter", "counter", "a sequence"),
        (
            "SELECT relname FROM pg_class",
            "pg_class",
            "the system catalogs",
        ),
        (
            "SELECT table_name FROM information_schema.tables",
            "information_schema.tables",
            "the system catalogs",
        ),
        (
            "SELECT price_of(7)",
            "public.price_of(bigint)",
            "not IMMUTABLE",
        ),
        (
            "SELECT 1 WHERE 'a' ~~~ 'b'::text",
            "public.near(text, text)",
            "not IMMUTABLE",
        ),
        (
            "SELECT worth(7)",
            "public.add_priced(numeric, bigint)",
            "not IMMUTABLE",
        ),
        ("SELECT random()", "random()", "volatile"),
        ("SELECT now()", "now()", "time passes"),
        (
            "SELECT clock_timestamp()",
            "clock_timestamp()",
            "time passes",
        ),
        ("SELECT current_date", "CURRENT_DATE", "time passes"),
        (
            "SELECT age('2000-01-01'::timestamp)",
            "age(timestamp without time zone)",
            "time passes",
        ),
        ("SELECT current_user", "CURRENT_USER", "session"),
        (
            "SELECT current_setting('TimeZone')",
            "current_setting(text)",
            "session",
        ),
        (
            "SELECT 1 FROM orgs TABLESAMPLE system (10)",
            "TABLESAMPLE",
            "choice of rows",
        ),
    ] {
        let tables = match name {
            "far_parts" => "[\"parts\"]",
            "TABLESAMPLE" => "[\"orgs\"]",
            _ => "[\"items\"]",
        };
        let sql = match tables {
            "[\"items\"]" => format!("WITH x AS ({sql}) SELECT count(*) FROM x, items"),
            _ => sql.to_owned(),
        };
        let acknowledge = format!("[query.q.acknowledge] {name:?} = ");
        let lines = format!("reads = {tables}");
        let words = [&format!("uses {name:?}, which is "), why, &acknowledge];
        lone.refused(&sql, &lines, &words);
        let reason = format!("[query.q.acknowledge]\n{name:?} = \"that is fine\"");
        lone.accepted(&sql, &format!("{lines}\n{reason}"));
        // Nothing is cached, so nothing is stale.
        lone.accepted(&sql, &format!("{lines}\nmax_staleness = \"0s\""));
    }
    for sql in [
        "SELECT twice(total), to_char(total, '9'), json_build_object('a', id) FROM orders",
        "SELECT age('2000-01-01'::timestamp, '2001-01-01'::timestamp) FROM orders",
    ] {
        lone.accepted(sql, "reads = [\"orders\"]");
    }
}

#[tokio::test]
async fn an_acknowledgement_is_for_something_that_is_used() {
    let lone = Lone::new().await;
    let sql = "SELECT now(), id FROM orders";
    let acknowledge = |name: &str| format!("acknowledge = {{ {name:?} = \"the ttl bounds it\" }}");
    lone.refused(
        "SELECT id FROM orders",
        &format!("reads = [\"orders\"]\n{}", acknowledge("now()")),
        &["acknowledge names \"now()\", which the SQL does not use"],
    );
    let empty = lone.run(
        sql,
        "reads = [\"orders\"]\nacknowledge = { \"now()\" = \"\" }",
        &["check"],
    );
    assert!(!empty.success);
    assert_says(&empty, &["tidemark.toml:5: ", "without a reason"]);
    // Plain caching by time promises no more.
    lone.accepted(
        sql,
        "reads = [\"orders\"]\nttl = \"1m\"\nmax_staleness = \"1m\"",
    );

    // Only the function knows what it reads.
    let sql = "SELECT price_of(7)";
    let lines = format!("reads = [\"items\"]\n{}", acknowledge("price_of(bigint)"));
    lone.accepted(sql, &lines);
    let explained = lone.run(sql, &lines, &["explain", "q"]);
    assert_says(
        &explained,
        &[
            "items            any row; insert, delete, any update",
            "public.price_of(bigint): the ttl bounds it",
        ],
    );
    lone.accepted(
        sql,
        &format!("reads = []\n{}", acknowledge("public.price_of(bigint)")),
    );
}

#[tokio::test]
async fn row_level_security_is_seen_for_the_role_that_reads() {
    let lone = Lone::new().await;
    let role = format!("reader_{}", std::process::id());
    let password = lone.database.password();
    lone.database
        .run(&format!(
            "CREATE ROLE {role} LOGIN PASSWORD '{password}';
             GRANT SELECT ON ALL TABLES IN SCHEMA public TO {role};
             ALTER TABLE orders ENABLE ROW LEVEL SECURITY;
             CREATE POLICY own ON orders USING (org_id IN (SELECT id FROM orgs));
             ALTER VIEW order_view OWNER TO {role};
             GRANT SELECT ON orders TO {role};"
        ))
        .await
        .unwrap();
    let reads = "reads = [\"orders\"]";
    // The tests' own role is a superuser, whom no policy restricts; but the view's owner is not.
    lone.accepted("SELECT id FROM orders", reads);
    lone.refused(
        "SELECT id FROM order_view",
        reads,
        &["\"orders\", which is under row-level security"],
    );
    let check = |lines: &str| {
        let lines = format!("{reads}\n{lines}");
        lone.run("SELECT id FROM orders", &lines, &["uninstall", "--help"]);
        let mut config = with_catalog(&lone.database, lone.folder.path());
        config.database_url = config
            .database_url
            .replace("tidemark:", &format!("{role}:"));
        origin(&config, &["check"])
    };
    let ran = check("");
    assert!(!ran.success, "{ran:?}");
    assert_says(&ran, &["\"orders\", which is under row-level security"]);
    let ran = check("acknowledge = { orders = \"orgs never change\" }");
    assert!(ran.success, "{ran:?}");
}

#[tokio::test]
async fn a_query_only_reads_and_json_is_one_column_of_json() {
    let lone = Lone::new().await;
    lone.refused(
        "WITH gone AS (DELETE FROM items RETURNING id) SELECT id FROM gone",
        "reads = [\"items\"]",
        &["it changes data", "make it a command"],
    );
    lone.refused(
        "SELECT id INTO copy FROM items",
        "reads = [\"items\"]",
        &["PostgreSQL can't prepare it", "INTO"],
    );
    lone.refused(
        "SELECT id FROM items FOR NO KEY UPDATE",
        "reads = [\"items\"]",
        &["it locks rows", "leave out FOR UPDATE"],
    );
    let json = "shape = \"json\"\nreads = [\"orders\"]";
    lone.refused(
        "SELECT note FROM orders",
        json,
        &[
            "takes one column of type json or jsonb",
            "is text",
            "to_json",
        ],
    );
    lone.refused(
        "SELECT to_json(id), to_json(note) FROM orders",
        json,
        &["takes one column, and the SQL has 2"],
    );
    lone.accepted("SELECT json_agg(id) FROM orders", json);
    lone.accepted("SELECT jsonb_agg(id) FROM orders", json);
}

#[tokio::test]
async fn parameters_work_wherever_postgresql_takes_a_value() {
    let lone = Lone::new().await;
    for (sql, params) in [
        (
            "SELECT id FROM orders ORDER BY id FETCH FIRST :n ROWS ONLY",
            "n = \"int\"",
        ),
        (
            "SELECT id FROM orders ORDER BY id LIMIT :n OFFSET :n ROWS",
            "n = \"int\"",
        ),
        (
            "SELECT id FROM orders WHERE INTERVAL :n < '1 day'",
            "n = \"text\"",
        ),
        (
            "SELECT (ARRAY[id, org_id])[:n : :n], (ARRAY[id])[org_id:id], (ARRAY[id])[:n:id] FROM orders",
            "n = \"int\"",
        ),
        (
            "WITH x AS (SELECT :n AS n) (SELECT id FROM orders, x) UNION (SELECT n FROM x) ORDER BY 1",
            "n = \"int\"",
        ),
        (
            "SELECT id, id, 1, 1 FROM orders WHERE id = :n GROUP BY id, id + :n HAVING max(total) > :n",
            "n = \"int\"",
        ),
    ] {
        lone.accepted(
            sql,
            &format!("reads = [\"orders\"]\nparams = {{ {params} }}"),
        );
    }
}

#[tokio::test]
async fn fix_writes_reads_and_nothing_else() {
    let lone = Lone::new().await;
    let sql = "SELECT count(*) FROM order_view, sales.orgs";
    let lines = "# What it reads:\nreads = [\"order_view\", \"items\"] # all of it\nttl   = \"1m\"";
    let fixed = lone.run(sql, lines, &["check", "--fix"]);
    assert!(fixed.success, "{fixed:?}");
    assert_says(
        &fixed,
        &[
            "query \"q\": reads + orders, + sales.orgs, - order_view, - items",
            "all is well",
        ],
    );
    let text = fs::read_to_string(lone.folder.path().join("tidemark.toml")).unwrap();
    let expected = lines.replace("\"order_view\", \"items\"", "\"orders\", \"sales.orgs\"");
    assert!(text.contains(&expected), "{text}");

    let config = with_catalog(&lone.database, lone.folder.path());
    let again = origin(&config, &["check", "--fix"]);
    assert!(again.success, "{again:?}");
    assert_says(&again, &["nothing to fix in reads"]);

    // What it can't write stays a finding.
    let ran = lone.run(
        "SELECT now() FROM orders",
        "reads = [\"items\"]",
        &["check", "--fix"],
    );
    assert!(!ran.success, "{ran:?}");
    assert_says(&ran, &["+ orders, - items", "uses \"now()\""]);
}

#[tokio::test]
async fn what_is_suspicious_is_a_warning() {
    let case = Case::new().await;
    let well = case.check(
        CATALOG,
        "SELECT id, total FROM orders WHERE id > :after OR :org < 0",
        COMMAND,
    );
    assert!(well.success, "{well:?}");
    assert_says(
        &well,
        &[
            "warning: query \"orders\" (orders.sql): scope org narrows orders, but the SQL does not look at orders.org_id",
        ],
    );
    case.database
        .run("CREATE TABLE lines (id bigint, order_id bigint REFERENCES orders)")
        .await
        .unwrap();
    let catalog = CATALOG.replace("reads  = [\"orders\"]", "reads  = [\"orders\", \"lines\"]");
    let catalog = format!("{catalog}[table.lines]\nscope = \"org:{{orders.org_id}}\"\n");
    let query = "SELECT l.id FROM lines l JOIN orders o ON o.id = l.order_id WHERE o.org_id = :org AND l.id > :after";
    let ran = case.check(&catalog, query, COMMAND);
    assert!(ran.success, "{ran:?}");
    assert_says(
        &ran,
        &[
            "warning: table \"lines\": its foreign key to \"orders\" has no index on (order_id)",
            "CREATE INDEX ON lines (order_id)",
        ],
    );
    assert!(!ran.stdout.contains("narrows"), "{ran:?}");
    case.database
        .run("CREATE INDEX ON lines (order_id, id)")
        .await
        .unwrap();
    let ran = case.check(&catalog, query, COMMAND);
    assert_eq!(
        ran.stdout, "all is well: 1 queries, 1 commands\n",
        "{ran:?}"
    );
}

#[tokio::test]
async fn i1_an_incomplete_catalog_is_neither_served_nor_relayed_nor_installed() {
    let lone = Lone::new().await;
    for command in [
        &["serve"] as &[&str],
        &["relay"],
        &["install"],
        &["install", "--dry-run"],
    ] {
        let ran = lone.run(
            "SELECT 1 FROM items, orders",
            "reads = [\"items\"]",
            command,
        );
        assert!(!ran.success, "{command:?}: {ran:?}");
        assert_says(
            &ran,
            &[
                "does not fit the database",
                "\"orders\", which is missing in reads",
            ],
        );
    }
}
