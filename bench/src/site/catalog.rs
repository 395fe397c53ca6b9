//! The catalog of a run: the shipped example's, and what the benchmarks need beside it.

use std::{fmt::Write as _, fs, path::Path};

use anyhow::Context as _;
use tidemark_tests::erp;

/// The benchmarks' own tables, but for those of [`scope_tables`].
pub const SCHEMA: &str = include_str!("../../catalog/schema.sql");

/// How many scopes the queries `bench_scopes_N` depend on: each on the first N of as many little tables.
pub const SCOPES: [usize; 6] = [1, 2, 4, 8, 16, 32];

const APPENDIX: &str = include_str!("../../catalog/appendix.toml");
const SQL: [(&str, &str); 2] = [
    (
        "bench_item.sql",
        include_str!("../../catalog/bench_item.sql"),
    ),
    (
        "bench_body.sql",
        include_str!("../../catalog/bench_body.sql"),
    ),
];

/// Writes it to a folder.
///
/// # Errors
/// The example can't be read, or the folder not written.
pub fn write(folder: &Path) -> anyhow::Result<()> {
    let sql = folder.join("sql");
    fs::create_dir_all(&sql)?;
    let example = erp::catalog();
    let toml = fs::read_to_string(example.join("tidemark.toml"))?;
    for file in fs::read_dir(example.join("sql"))? {
        let path = file?.path();
        let name = path.file_name().context("a file without a name")?;
        fs::copy(&path, sql.join(name))?;
    }
    for (name, text) in SQL {
        fs::write(sql.join(name), text)?;
    }
    let mut queries = String::new();
    for scopes in SCOPES {
        fs::write(
            sql.join(format!("bench_scopes_{scopes}.sql")),
            scopes_sql(scopes),
        )?;
        queries += &scopes_query(scopes);
    }
    fs::write(folder.join("tidemark.toml"), toml + APPENDIX + &queries)?;
    Ok(())
}

/// The path of the query with so many scopes.
pub fn scopes_path(scopes: usize) -> String {
    format!("/bench/scopes/{scopes}")
}

/// Makes the tables that those queries depend on.
pub fn scope_tables() -> String {
    let most = SCOPES.into_iter().max().unwrap_or_default();
    let mut sql = String::new();
    for number in 1..=most {
        let name = table(number);
        let _ = write!(
            sql,
            "CREATE TABLE {name} (id bigint PRIMARY KEY, value text NOT NULL);
             INSERT INTO {name} SELECT n, 'value ' || n FROM generate_series(1, 10) AS n;\n"
        );
    }
    sql
}

fn table(number: usize) -> String {
    format!("bench_scope_{number:02}")
}

fn scopes_query(scopes: usize) -> String {
    let reads: Vec<_> = (1..=scopes)
        .map(|number| format!("{:?}", table(number)))
        .collect();
    format!(
        "\n[query.bench_scopes_{scopes}]\npath = {:?}\nsql = \"sql/bench_scopes_{scopes}.sql\"\n\
         shape = \"json\"\nreads = [{}]\nttl = \"1h\"\nmax_staleness = \"1s\"\n",
        scopes_path(scopes),
        reads.join(", ")
    )
}

/// The answer's length does not depend on the number of scopes: it is the cost of those that is looked for.
fn scopes_sql(scopes: usize) -> String {
    let rows: Vec<_> = (1..=scopes)
        .map(|number| format!("SELECT value FROM {}", table(number)))
        .collect();
    format!(
        "SELECT json_build_object('values', (SELECT json_agg(value) FROM (SELECT value FROM (\n    {}\n) AS u ORDER BY value LIMIT 10) AS v))\n",
        rows.join("\n    UNION ALL ")
    )
}

#[cfg(test)]
mod tests {
    use tidemark_shared::catalog::Catalog;

    use super::*;

    #[test]
    fn it_is_a_catalog_with_the_example_in_it() {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path()).unwrap();
        let toml = fs::read_to_string(folder.path().join("tidemark.toml")).unwrap();
        let catalog = Catalog::parse("tidemark.toml", &toml).unwrap();
        assert!(catalog.queries.contains_key("dashboard"));
        assert!(catalog.queries["bench_l1"].policy.l1_ms() > 0);
        for scopes in SCOPES {
            let query = &catalog.queries[&format!("bench_scopes_{scopes}")];
            assert_eq!(query.whole_tables.len(), scopes);
            assert_eq!(query.path, scopes_path(scopes));
        }
        for query in catalog.queries.values() {
            assert!(folder.path().join(&query.sql).is_file(), "{}", query.sql);
        }
    }
}
