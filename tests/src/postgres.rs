//! A private PostgreSQL: found, initialised, started on a free port, stopped.

use std::{
    fs, io,
    os::unix::{fs::chown, process::CommandExt as _},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use anyhow::{Context as _, bail};
use rustix::process::{Pid, Signal, geteuid, kill_process};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection, postgres::PgConnectOptions};

use tempfile::TempDir;

use crate::{
    port,
    process::{Launch, Process},
    tools,
};

/// The superuser of every server started here.
pub const USER: &str = "tidemark";

/// The processes of a server that are frozen until this is dropped.
#[derive(Debug)]
pub struct Frozen(Vec<Pid>);

impl Frozen {
    fn signal(&self, signal: Signal) {
        for process in &self.0 {
            // One that has ended meanwhile needs nothing.
            let _ = kill_process(*process, signal);
        }
    }
}

impl Drop for Frozen {
    fn drop(&mut self) {
        self.signal(Signal::CONT);
    }
}

/// The account that runs the server where we are root, as which PostgreSQL refuses to run.
const ACCOUNT: &str = "postgres";

/// How long a start may take: after a crash, recovery is part of it.
const START: Duration = Duration::from_secs(60);

/// What happens to data in a power failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// As PostgreSQL always does: what is committed stays.
    Durable,
    /// As `Durable`, for benchmarks: statements are counted, and there is room for many clients.
    Measured,
    /// For tests, whose data nobody misses: much faster.
    Throwaway,
    /// For tests that crash the server, but not the machine: what anybody has seen committed stays.
    SurvivesCrash,
}

/// A running server.
#[derive(Debug)]
pub struct Postgres {
    folder: PathBuf,
    durability: Durability,
    lease: Option<PathBuf>,
    process: Process,
    port: u16,
    password: String,
}

impl Postgres {
    /// Starts a server on the data in `folder`, which is made where there is none.
    ///
    /// # Errors
    /// There is no PostgreSQL on this machine, it can't use the folder, or it does not start.
    pub async fn start(
        folder: &Path,
        durability: Durability,
        lease: Option<PathBuf>,
    ) -> anyhow::Result<Self> {
        Self::start_on(port::free(), folder, durability, lease).await
    }

    /// Starts it again on the same port and data.
    ///
    /// # Errors
    /// It does not start.
    pub async fn restart(&mut self) -> anyhow::Result<()> {
        self.process.stop();
        let lease = self.lease.clone();
        *self = Self::start_on(self.port, &self.folder, self.durability, lease).await?;
        Ok(())
    }

    async fn start_on(
        port: u16,
        folder: &Path,
        durability: Durability,
        lease: Option<PathBuf>,
    ) -> anyhow::Result<Self> {
        let server = Installation::find()?;
        fs::create_dir_all(folder)?;
        let home = Home::of(folder)?;
        home.check_reachable()?;
        home.initialize(&server)?;
        home.check_version(&server)?;
        let password = fs::read_to_string(home.password())?.trim().to_owned();
        let mut command = home.as_account(server.program("postgres"));
        command.arg("-D").arg(home.data());
        for setting in settings(port, durability) {
            command.arg("-c").arg(setting);
        }
        let process = Process::start(Launch {
            name: "PostgreSQL",
            command,
            log: folder.join("postgres.log"),
            // "Fast" shutdown: it does not wait for clients.
            end: Signal::INT,
            lease: lease.clone(),
        })?;
        let mut this = Self {
            folder: folder.to_owned(),
            durability,
            lease,
            process,
            port,
            password,
        };
        let options = this.options("postgres");
        this.process
            .until(START, async |_| {
                PgConnection::connect_with(&options).await.ok()
            })
            .await?
            .close()
            .await?;
        Ok(this)
    }

    /// The URL of one of its databases, with the password in it.
    pub fn url(&self, database: &str) -> String {
        let Self { port, password, .. } = self;
        format!("postgres://{USER}:{password}@127.0.0.1:{port}/{database}")
    }

    /// The password in [`Postgres::url`].
    pub fn password(&self) -> &str {
        &self.password
    }

    /// Its port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The server's process.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// Freezes every process of the server, as a machine that hangs: nothing is answered, and nothing is
    /// refused.
    ///
    /// # Errors
    /// The system does not tell which processes these are.
    pub fn freeze(&mut self) -> std::io::Result<Frozen> {
        // First the one that would start others.
        self.process.signal(Signal::STOP);
        let main = self.process.id();
        let children = fs::read_to_string(format!("/proc/{main}/task/{main}/children"))?;
        let children = children.split_whitespace();
        let all = children
            .filter_map(|child| child.parse().ok())
            .chain([main]);
        let frozen = Frozen(
            all.filter_map(|id: u32| Pid::from_raw(i32::try_from(id).ok()?))
                .collect(),
        );
        frozen.signal(Signal::STOP);
        Ok(frozen)
    }

    /// Everything that the server has logged.
    ///
    /// # Errors
    /// The log can't be read.
    pub fn log(&self) -> std::io::Result<String> {
        self.process.output()
    }

    /// The last lines that the server has logged.
    pub fn tail(&self) -> String {
        self.process.tail()
    }

    /// A connection to one of its databases.
    ///
    /// # Errors
    /// There is no such database, or the server is not there.
    pub async fn connect(&self, database: &str) -> sqlx::Result<PgConnection> {
        PgConnection::connect_with(&self.options(database)).await
    }

    /// Makes a database, empty or as a copy of another one to which nobody is connected.
    ///
    /// # Errors
    /// PostgreSQL refuses.
    pub async fn create_database(&self, name: &str, template: Option<&str>) -> sqlx::Result<()> {
        let template = template.unwrap_or("template0");
        self.administer(format!("CREATE DATABASE {name} TEMPLATE {template}"))
            .await
    }

    /// Dumps a database and restores it as another one, as a backup would.
    ///
    /// # Errors
    /// `pg_dump` or `psql` is missing or fails.
    pub async fn restore_copy(&self, from: &str, to: &str) -> anyhow::Result<()> {
        self.create_database(to, None).await?;
        let folder = TempDir::new()?;
        let dump = folder.path().join("dump.sql");
        let server = Installation::find()?;
        tools::output(
            Command::new(server.program("pg_dump"))
                .args(["--dbname", &self.url(from), "--file"])
                .arg(&dump),
        )?;
        let mut restore = Command::new(server.program("psql"));
        restore
            .args(["--dbname", &self.url(to), "--no-psqlrc", "--quiet"])
            .args(["--set", "ON_ERROR_STOP=1", "--file"])
            .arg(&dump);
        tools::output(&mut restore)?;
        Ok(())
    }

    /// Drops a database, whoever is connected to it.
    ///
    /// # Errors
    /// PostgreSQL refuses.
    pub async fn drop_database(&self, name: &str) -> sqlx::Result<()> {
        self.administer(format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)"))
            .await
    }

    /// Whether there is such a database.
    ///
    /// # Errors
    /// The server is not there.
    pub async fn has_database(&self, name: &str) -> sqlx::Result<bool> {
        let mut connection = self.connect("postgres").await?;
        sqlx::query_scalar("SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1)")
            .bind(name)
            .fetch_one(&mut connection)
            .await
    }

    async fn administer(&self, sql: String) -> sqlx::Result<()> {
        let mut connection = self.connect("postgres").await?;
        // Its names are those of this crate.
        sqlx::raw_sql(AssertSqlSafe(sql))
            .execute(&mut connection)
            .await?;
        connection.close().await
    }

    /// How to connect to one of its databases.
    pub fn options(&self, database: &str) -> PgConnectOptions {
        PgConnectOptions::new_without_pgpass()
            .host("127.0.0.1")
            .port(self.port)
            .username(USER)
            .password(&self.password)
            .database(database)
            .application_name("tidemark-tests")
    }
}

/// Whether the account that runs PostgreSQL gets into a folder at all; that is up to every folder
/// above it.
///
/// # Errors
/// There is no such account.
pub fn can_live_in(folder: &Path) -> anyhow::Result<bool> {
    Home::of(folder)?.is_reachable()
}

/// A new folder for PostgreSQL's data, within another one: the account that runs it gets in.
///
/// # Errors
/// No folder can be made there.
pub fn new_folder(within: &Path, prefix: &str) -> io::Result<TempDir> {
    tempfile::Builder::new()
        .prefix(prefix)
        .permissions(std::os::unix::fs::PermissionsExt::from_mode(0o755))
        .tempdir_in(within)
}

/// One of the newest PostgreSQL's own programs, such as `pgbench`.
///
/// # Errors
/// There is no PostgreSQL on this machine.
pub fn program(name: &str) -> anyhow::Result<PathBuf> {
    Ok(Installation::find()?.program(name))
}

fn settings(port: u16, durability: Durability) -> Vec<String> {
    let mut settings = vec![
        format!("port={port}"),
        "listen_addresses=127.0.0.1".to_owned(),
        "unix_socket_directories=".to_owned(),
        "cluster_name=tidemark".to_owned(),
        "timezone=UTC".to_owned(),
        "log_timezone=UTC".to_owned(),
        // Who, where, from which process: tests count statements by it.
        "log_line_prefix=%m [%p] %a@%d ".to_owned(),
    ];
    let more: &[&str] = match durability {
        Durability::Durable => &[],
        Durability::Measured => &[
            "max_connections=400",
            "shared_preload_libraries=pg_stat_statements",
        ],
        Durability::Throwaway | Durability::SurvivesCrash => &[
            "fsync=off",
            "full_page_writes=off",
            "max_connections=400",
            "max_wal_size=4GB",
            "shared_preload_libraries=pg_stat_statements",
        ],
    };
    settings.extend(more.iter().map(|setting| (*setting).to_owned()));
    if durability == Durability::Throwaway {
        // A crash may lose commits that others have seen already.
        settings.push("synchronous_commit=off".to_owned());
    }
    settings
}

/// A server's folder: its data, its password, and the account that may read them.
struct Home<'a> {
    folder: &'a Path,
    account: Option<Account>,
}

#[derive(Clone, Copy)]
struct Account {
    user: u32,
    group: u32,
}

impl<'a> Home<'a> {
    fn of(folder: &'a Path) -> anyhow::Result<Self> {
        let account = if geteuid().is_root() {
            Some(Account::find()?)
        } else {
            None
        };
        Ok(Self { folder, account })
    }

    fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    fn password(&self) -> PathBuf {
        self.folder.join("password")
    }

    fn check_reachable(&self) -> anyhow::Result<()> {
        if self.is_reachable()? {
            return Ok(());
        }
        bail!(
            "PostgreSQL does not run as root, and the account {ACCOUNT} can't enter {}; \
             choose a folder that it can, or run this as another user",
            self.folder.display()
        )
    }

    fn is_reachable(&self) -> anyhow::Result<bool> {
        let mut command = self.as_account("/bin/sh");
        command.args(["-c", "cd \"$0\""]).arg(self.folder);
        let quiet = command.stdout(Stdio::null()).stderr(Stdio::null());
        Ok(quiet.status().context("can't start /bin/sh")?.success())
    }

    /// A command as the account that runs the server.
    fn as_account(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new(program);
        if let Some(Account { user, group }) = self.account {
            command.uid(user).gid(group);
        }
        // PostgreSQL's own variables (PGHOST, PGDATA, PGPORT …) may speak of another server.
        for (name, _) in std::env::vars_os() {
            if name.as_encoded_bytes().starts_with(b"PG") {
                command.env_remove(name);
            }
        }
        command.current_dir("/");
        command
    }

    /// Makes the data, unless it is there. Beside its place first: half of it is none.
    fn initialize(&self, server: &Installation) -> anyhow::Result<()> {
        if self.data().exists() {
            return Ok(());
        }
        let new = self.folder.join("data.new");
        if new.exists() {
            fs::remove_dir_all(&new)?;
        }
        fs::create_dir(&new)?;
        fs::write(self.password(), random_password()?)?;
        fs::set_permissions(
            self.password(),
            std::os::unix::fs::PermissionsExt::from_mode(0o600),
        )?;
        if let Some(Account { user, group }) = self.account {
            chown(&new, Some(user), Some(group))?;
            chown(self.password(), Some(user), Some(group))?;
        }
        let mut initdb = self.as_account(server.program("initdb"));
        initdb
            .args(["--username", USER, "--auth", "scram-sha-256"])
            .args(["--encoding", "UTF8", "--no-locale", "--no-sync"])
            .arg("--pwfile")
            .arg(self.password())
            .arg(&new);
        tools::output(&mut initdb)?;
        fs::rename(new, self.data())?;
        Ok(())
    }

    /// Data of one major version is nothing to another.
    fn check_version(&self, server: &Installation) -> anyhow::Result<()> {
        let made_by = fs::read_to_string(self.data().join("PG_VERSION"))?;
        let made_by = made_by.trim();
        let found = tools::output(Command::new(server.program("postgres")).arg("--version"))?;
        let major = found
            .split(|c: char| !c.is_ascii_digit())
            .find(|part| !part.is_empty());
        if major != Some(made_by) {
            bail!(
                "the data in {} was made by PostgreSQL {made_by}, but this machine has {}; \
                 remove the folder to begin anew",
                self.folder.display(),
                found.trim()
            );
        }
        Ok(())
    }
}

impl Account {
    fn find() -> anyhow::Result<Self> {
        let ask = |what: &str| -> anyhow::Result<u32> {
            let id =
                tools::output(Command::new("id").args([what, ACCOUNT])).with_context(|| {
                    format!("PostgreSQL does not run as root, and there is no account {ACCOUNT}")
                })?;
            Ok(id.trim().parse()?)
        };
        Ok(Self {
            user: ask("-u")?,
            group: ask("-g")?,
        })
    }
}

/// Where this machine's server programs are.
struct Installation(PathBuf);

impl Installation {
    /// Debian keeps them out of the PATH, in a folder for each version: the newest one.
    fn find() -> anyhow::Result<Self> {
        let has_server = |folder: &PathBuf| {
            ["initdb", "postgres"]
                .iter()
                .all(|program| folder.join(program).is_file())
        };
        let version = |folder: &PathBuf| -> u32 {
            let name = folder.parent().and_then(Path::file_name);
            name.and_then(|name| name.to_str()?.parse().ok())
                .unwrap_or(0)
        };
        let debian = fs::read_dir("/usr/lib/postgresql").into_iter().flatten();
        debian
            .filter_map(|entry| Some(entry.ok()?.path().join("bin")))
            .filter(has_server)
            .max_by_key(version)
            .or_else(|| {
                let folder = tools::program("postgres").ok()?.parent()?.to_owned();
                Some(folder).filter(has_server)
            })
            .or_else(|| {
                let folder = tools::output(Command::new("pg_config").arg("--bindir")).ok()?;
                Some(PathBuf::from(folder.trim())).filter(has_server)
            })
            .map(Self)
            .context("PostgreSQL's server programs are not installed; run: ops/setup")
    }

    fn program(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

/// 128 random bits, so that no other user of this machine gets in.
fn random_password() -> anyhow::Result<String> {
    use std::{fmt::Write as _, io::Read as _};
    let mut bytes = [0; 16];
    fs::File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    let mut password = String::new();
    for byte in bytes {
        write!(password, "{byte:02x}")?;
    }
    Ok(password)
}
