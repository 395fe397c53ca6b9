//! Which columns can tell members, and what is said of those that can't; and of unusual names.

use tidemark_tests::stack::Database;

use crate::captured::{Captured, plan};

fn catalog(param: &str) -> String {
    format!(
        r#"
        [query.items]
        path   = "/org/{{org}}/items"
        params = {{ org = "{param}" }}
        sql    = "items.sql"
        reads  = ["items"]
        scope  = "org:{{org}}"

        [table.items]
        scope = "org:{{org}}"
        "#
    )
}

const TYPES: &str = "
    CREATE EXTENSION citext;
    CREATE TYPE mood AS ENUM ('good', 'bad');
    CREATE DOMAIN number AS int; CREATE DOMAIN positive AS number CHECK (VALUE > 0);
    CREATE DOMAIN word AS text; CREATE DOMAIN amount AS numeric;
    CREATE COLLATION ci (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
    CREATE DOMAIN loose AS text COLLATE ci;
";

#[tokio::test]
async fn a_members_column_has_the_text_of_the_parameter() {
    for (param, fits, value, member) in [
        ("int", "smallint", "042", "org:42"),
        ("int", "int", "042", "org:42"),
        ("int", "bigint", "042", "org:42"),
        ("int", "positive", "042", "org:42"),
        (
            "uuid",
            "uuid",
            "A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11",
            "org:a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11",
        ),
        ("text", "text", "a b", "org:a%20b"),
        ("text", "varchar(9)", "a", "org:a"),
        ("enum(good|bad)", "word", "good", "org:good"),
        ("enum(good|bad)", "mood", "good", "org:good"),
        ("text", "mood", "good", "org:good"),
    ] {
        let schema = format!("{TYPES} CREATE TABLE items (org {fits})");
        let mut captured = Captured::new(&schema, &catalog(param), &[]).await;
        let insert = format!("INSERT INTO items VALUES ('{value}')");
        assert_eq!(captured.records(&insert).await, [member], "{fits}");
    }
}

#[tokio::test]
async fn other_columns_are_refused_by_name() {
    let database = Database::empty().await.unwrap();
    database.run(TYPES).await.unwrap();
    for (param, unfit, shown) in [
        ("int", "numeric", "numeric"),
        ("int", "amount", "amount"),
        ("int", "text", "text"),
        ("int", "uuid", "uuid"),
        ("uuid", "text", "text"),
        ("text", "int", "integer"),
        ("text", "char(4)", "character(4)"),
        ("text", "citext", "citext"),
        ("text", "name", "name"),
        ("text", "float8", "double precision"),
        ("text", "bool", "boolean"),
        (
            "text",
            "text COLLATE ci",
            "text with a nondeterministic collation",
        ),
        ("text", "loose", "loose with a nondeterministic collation"),
    ] {
        let table = format!("DROP TABLE IF EXISTS items; CREATE TABLE items (org {unfit})");
        database.run(&table).await.unwrap();
        let refused = plan(&database, &catalog(param), &[]).await.unwrap_err();
        let said = refused.to_string();
        let expected = format!("\"items\" has \"org\" of type {shown}, but the member is the ");
        assert!(said.contains(&expected), "{said}");
        assert!(
            said.contains("parameter \"org\" of query \"items\""),
            "{said}"
        );
    }
}

#[tokio::test]
async fn a_paths_keys_have_one_text_for_each_value() {
    const CATALOG: &str = r#"
        [query.items]
        path   = "/org/{org}/items"
        params = { org = "int" }
        sql    = "items.sql"
        reads  = ["items"]
        scope  = "org:{org}"

        [table.items]
        scope = "org:{orders.org}"
    "#;
    for (fits, value) in [
        ("smallint", "7"),
        ("bigint", "7"),
        ("uuid", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"),
        ("varchar(9)", "it''s"),
        ("positive", "7"),
        ("mood", "bad"),
        ("bool", "true"),
    ] {
        let schema = format!(
            "{TYPES} CREATE TABLE orders (id {fits} PRIMARY KEY, org int);
             CREATE TABLE items (id int PRIMARY KEY, order_id {fits} REFERENCES orders);
             INSERT INTO orders VALUES ('{value}', 42)"
        );
        let mut captured = Captured::new(&schema, CATALOG, &[]).await;
        let insert = format!("INSERT INTO items VALUES (1, '{value}')");
        assert_eq!(captured.records(&insert).await, ["org:42"], "{fits}");
    }
    for (unfit, shown) in [
        ("numeric", "numeric"),
        ("date", "date"),
        ("citext", "citext"),
        ("char(3)", "character(3)"),
        ("text COLLATE ci", "text with a nondeterministic collation"),
    ] {
        let database = Database::empty().await.unwrap();
        let schema = format!(
            "{TYPES} CREATE TABLE orders (id {unfit} PRIMARY KEY, org int);
             CREATE TABLE items (id int PRIMARY KEY, order_id {unfit} REFERENCES orders)"
        );
        database.run(&schema).await.unwrap();
        let said = plan(&database, CATALOG, &[]).await.unwrap_err().to_string();
        let expected =
            format!("\"items\".\"order_id\" of type {shown}, whose values have no single text");
        assert!(said.contains(&expected), "{said}");
    }

    // Rows on the way must not be hidden from whoever looks them up.
    let schema = "CREATE TABLE orders (id int PRIMARY KEY, org int);
        CREATE TABLE items (id int PRIMARY KEY, order_id int REFERENCES orders);
        ALTER TABLE orders ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
        DO $$ BEGIN
            CREATE ROLE installer_without_bypass;
        EXCEPTION WHEN duplicate_object THEN NULL; END $$;
        ALTER TABLE orders OWNER TO installer_without_bypass;
        ALTER TABLE items OWNER TO installer_without_bypass;";
    let database = Database::empty().await.unwrap();
    database.run(schema).await.unwrap();
    plan(&database, CATALOG, &[])
        .await
        .expect("a superuser sees all rows");
    database
        .run("CREATE SCHEMA tidemark AUTHORIZATION installer_without_bypass")
        .await
        .unwrap();
    let said = plan(&database, CATALOG, &[]).await.unwrap_err().to_string();
    assert!(
        said.contains("\"orders\", whose row-level security is forced"),
        "{said}"
    );
    database
        .run("ALTER TABLE orders NO FORCE ROW LEVEL SECURITY")
        .await
        .unwrap();
    plan(&database, CATALOG, &[]).await.unwrap();
}

#[tokio::test]
async fn unusual_names_are_captured_as_well() {
    let long = "a".repeat(55);
    let tables = [
        "public.$capture$".replace("public.", "_"),
        "User".to_owned(),
        "select".to_owned(),
        format!("{long}_one"),
        format!("{long}_two"),
    ];
    for columns in [
        ("id", "org_id"),
        ("Id", "touched"),
        ("it's \"quoted\"", "$capture$"),
    ] {
        let (key, member) = columns;
        let quoted = |name: &str| format!("\"{}\"", name.replace('"', "\"\""));
        let mut schema = String::new();
        let mut toml = String::new();
        for (number, table) in tables.iter().enumerate() {
            schema.push_str(&format!(
                "CREATE TABLE {} ({} int PRIMARY KEY, {} int, rows_before text, note text);",
                quoted(table),
                quoted(key),
                quoted(member)
            ));
            toml.push_str(&format!(
                "[query.q{number}]\npath = \"/q{number}/{{org}}\"\nparams = {{ org = \"int\" }}\nsql = \"q.sql\"\nreads = [{table:?}]\nscope = \"org{number}:{{org}}\"\n\
                 [query.w{number}]\npath = \"/w{number}\"\nsql = \"q.sql\"\nreads = [{table:?}]\n\
                 [table.{table:?}]\nscope = 'org{number}:{{{member}}}'\n"
            ));
        }
        let uses: Vec<_> = tables
            .iter()
            .map(|table| (table.as_str(), &["rows_before"][..]))
            .collect();
        let mut captured = Captured::new(&schema, &toml, &uses).await;
        for (number, table) in tables.iter().enumerate() {
            let mut expected = vec![format!("org{number}:42"), table.clone()];
            expected.sort();
            let table = quoted(table);
            for (sql, records) in [
                (format!("INSERT INTO {table} VALUES (1, 42)"), true),
                (
                    format!("INSERT INTO {table} VALUES (2, 42), (3, NULL)"),
                    true,
                ),
                (format!("UPDATE {table} SET note = 'x'"), false),
                (format!("UPDATE {table} SET rows_before = 'x'"), true),
                (format!("DELETE FROM {table}"), true),
            ] {
                let expected = if records { expected.as_slice() } else { &[] };
                assert_eq!(captured.records(&sql).await, expected, "{sql}");
            }
        }
    }
}
