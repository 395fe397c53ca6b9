//! Data that stays between runs: where PostgreSQL keeps it, and whether it is still the right one.

use std::{
    fmt, fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    time::Instant,
};

use rustix::process::geteuid;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};

use crate::{
    erp::{self, Size},
    postgres::{self, Postgres, can_live_in},
};

/// `postgres` in a folder. Where we are root and the account that runs PostgreSQL does not get in there
/// (a clone in /root, say), a link to a folder where it does, whose name begins with `prefix`.
///
/// # Errors
/// No such folder can be made.
pub fn postgres_folder(
    folder: &Path,
    prefix: &str,
    say: impl Fn(fmt::Arguments<'_>),
) -> anyhow::Result<PathBuf> {
    let place = folder.join("postgres");
    if place.exists() {
        // Where a link leads: the way through the link would be through the folder.
        return Ok(place.canonicalize()?);
    }
    if !geteuid().is_root() || can_live_in(folder)? {
        return Ok(place);
    }
    // A link whose target somebody has removed.
    let _ = fs::remove_file(&place);
    let elsewhere = postgres::new_folder(Path::new("/var/tmp"), prefix)?.keep();
    symlink(&elsewhere, &place)?;
    say(format_args!(
        "PostgreSQL does not run as root, and its account can't enter {}: its data is in {}",
        folder.display(),
        elsewhere.display()
    ));
    Ok(elsewhere)
}

/// Loads the example into a database, unless it is there in this size. Its label is written last.
///
/// # Errors
/// PostgreSQL refuses, or the example's files can't be read.
pub async fn load(
    postgres: &Postgres,
    name: &str,
    size: Size,
    say: impl Fn(fmt::Arguments<'_>),
) -> anyhow::Result<()> {
    let wanted = erp::label(size)?;
    let mut server = postgres.connect("postgres").await?;
    let found = label(&mut server, name).await?;
    if found.as_ref() == Some(&wanted) {
        say(format_args!("the data is there (size {})", size.name()));
        return Ok(server.close().await?);
    }
    if found.is_some() {
        say(format_args!(
            "the data is of another size or version, and is made anew"
        ));
    }
    postgres.drop_database(name).await?;
    postgres.create_database(name, None).await?;
    let mut database = postgres.connect(name).await?;
    let begun = Instant::now();
    erp::load(&mut database, size.scale(), |step| {
        say(format_args!(
            "loading, size {}: {:>2}/{} {}",
            size.name(),
            step.number,
            step.of,
            step.name
        ));
    })
    .await?;
    database.close().await?;
    // The label is made of this repository's own words, without quotes.
    let sql = format!(
        "COMMENT ON DATABASE {name} IS '{}'",
        wanted.replace('\'', "''")
    );
    sqlx::raw_sql(AssertSqlSafe(sql))
        .execute(&mut server)
        .await?;
    say(format_args!(
        "loaded in {:.1} s",
        begun.elapsed().as_secs_f32()
    ));
    Ok(server.close().await?)
}

/// What data a database holds, if it is complete.
async fn label(server: &mut PgConnection, name: &str) -> sqlx::Result<Option<String>> {
    let label: Option<Option<String>> = sqlx::query_scalar(
        "SELECT shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = $1",
    )
    .bind(name)
    .fetch_optional(server)
    .await?;
    Ok(label.flatten())
}
