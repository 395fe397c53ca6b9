//! What epochs rest on, and what is recorded of each Redis in PostgreSQL.

use sqlx::PgConnection;
use tidemark_shared::{
    digest::Digest,
    epoch::Epoch,
    history::{Ground, Record},
};

/// Which history of which database this is: another one after a physical restore or the promotion of
/// a standby (its timeline), and after a dump was restored or a database was copied (their oids).
pub(super) async fn database(connection: &mut PgConnection) -> Result<String, sqlx::Error> {
    sqlx::query_scalar(
        "SELECT concat_ws(' ',
             (SELECT system_identifier FROM pg_catalog.pg_control_system()),
             left(pg_catalog.pg_walfile_name(pg_catalog.pg_current_wal_lsn()), 8),
             (SELECT oid FROM pg_catalog.pg_database WHERE datname = current_database()),
             'tidemark.outbox'::regclass::oid)",
    )
    .fetch_one(connection)
    .await
}

/// What was recorded of this Redis when its epoch began.
pub(super) async fn recorded(
    connection: &mut PgConnection,
    region: &str,
) -> Result<Option<Record>, sqlx::Error> {
    let row: Option<(String, String, String, String)> = sqlx::query_as(
        "SELECT redis, database, catalog, epoch FROM tidemark.region WHERE name = $1",
    )
    .bind(region)
    .fetch_optional(connection)
    .await?;
    // What can't be read is as good as nothing: a new epoch begins.
    Ok(row.and_then(|(redis, database, catalog, epoch)| {
        Some(Record {
            ground: Ground {
                redis,
                database,
                catalog: Digest::parse(&catalog)?,
            },
            epoch: Epoch::parse(&epoch)?,
        })
    }))
}

/// Records the epoch that begins in this Redis. Before its first tidemark, so that no later leader can
/// take an older record for the current one.
pub(super) async fn record(
    connection: &mut PgConnection,
    region: &str,
    Record { ground, epoch }: &Record,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "INSERT INTO tidemark.region (name, redis, database, catalog, epoch)
         VALUES ($1, $2, $3, $4, $5)
         ON CONFLICT (name) DO UPDATE SET redis = EXCLUDED.redis, database = EXCLUDED.database,
            catalog = EXCLUDED.catalog, epoch = EXCLUDED.epoch",
    )
    .bind(region)
    .bind(&ground.redis)
    .bind(&ground.database)
    .bind(ground.catalog.to_string())
    .bind(epoch.to_string())
    .execute(connection)
    .await?;
    Ok(())
}

/// Forgets every epoch, so that whoever leads next begins new ones.
pub(super) async fn forget(connection: &mut PgConnection) -> Result<(), sqlx::Error> {
    sqlx::query("DELETE FROM tidemark.region")
        .execute(connection)
        .await?;
    Ok(())
}
