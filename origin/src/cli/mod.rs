//! The command line: what `tidemark-origin` can be told, by flags or environment.
//!
//! One file a command, or pair of commands; each is arguments and a short way into the library.

mod arguments;
mod audit;
mod check;
mod entries;
mod explain;
mod install;
mod manager;
mod output;
mod purge;
mod serve;
mod status;
mod tail;
mod top;
mod warm;

use clap::{CommandFactory as _, Parser, Subcommand};
use clap_complete::Shell;

use crate::telemetry::LogFormat;

/// Tidemark's origin: runs the catalog's SQL, captures changes in PostgreSQL, and relays
/// invalidations to Redis.
#[derive(Debug, Parser)]
#[command(name = "tidemark-origin", version, arg_required_else_help = true)]
pub struct Cli {
    /// How logs are written to standard error.
    #[arg(
        long,
        env = "TIDEMARK_LOG_FORMAT",
        value_name = "FORMAT",
        value_enum,
        default_value_t,
        global = true
    )]
    pub log_format: LogFormat,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve queries and commands over HTTP, and relay invalidations.
    Serve(serve::ServeArgs),
    /// Relay invalidations, and nothing else.
    Relay(serve::RelayAloneArgs),
    /// Apply a relay's events to a Redis that the relay can't reach: another region's.
    Manager(manager::ManagerArgs),
    /// Invalidate whatever depends on a table, a member or a family, in every region.
    Purge(purge::PurgeArgs),
    /// Tell whether everything is well, and if not, what to do; fails if something does not work.
    Status(status::StatusArgs),
    /// Show what is cached for a request, and whether an edge would serve it.
    Get(entries::GetArgs),
    /// List what is cached that depends on a table, a member or a family.
    Keys(entries::KeysArgs),
    /// Show the relay's events as they happen.
    Tail(tail::TailArgs),
    /// Watch an origin at work, in the terminal.
    Top(top::TopArgs),
    /// Install the outbox and the triggers; safe to run again.
    Install(install::InstallArgs),
    /// Remove the outbox and the triggers.
    Uninstall(install::UninstallArgs),
    /// Check the catalog, and that every statement and table in it fits the database.
    Check(check::CheckArgs),
    /// Hold cached answers against the database; fails if one is wrong.
    Audit(audit::AuditArgs),
    /// Fill the cache before anybody reads: what was read most, a list, or all that queries enumerate.
    Warm(warm::WarmArgs),
    /// Tell what invalidates a query, or what a change would invalidate.
    Explain(explain::ExplainArgs),
    /// Print what makes a shell complete this command's arguments.
    Completions {
        /// The shell.
        shell: Shell,
    },
}

impl Cli {
    /// Does what the command line says.
    ///
    /// # Errors
    /// It can't be done; the message says why and, where possible, what to do.
    pub async fn run(self) -> anyhow::Result<()> {
        match self.command.run().await {
            Err(error) if output::is_unread(&error) => Ok(()),
            ended => ended,
        }
    }
}

impl Command {
    async fn run(self) -> anyhow::Result<()> {
        match self {
            Self::Serve(args) => serve::serve(args).await,
            Self::Relay(args) => serve::relay(args).await,
            Self::Manager(args) => manager::manager(args).await,
            Self::Purge(args) => purge::purge(args).await,
            Self::Install(args) => install::install(args).await,
            Self::Uninstall(args) => install::uninstall(args).await,
            Self::Check(args) => check::check(args).await,
            Self::Audit(args) => audit::audit(args).await,
            Self::Warm(args) => warm::warm(args).await,
            Self::Explain(args) => explain::explain(args).await,
            Self::Status(args) => status::status(args).await,
            Self::Get(args) => entries::get(args).await,
            Self::Keys(args) => entries::keys(args).await,
            Self::Tail(args) => tail::tail(args).await,
            Self::Top(args) => top::top(args).await,
            Self::Completions { shell } => {
                let mut script = Vec::new();
                clap_complete::generate(shell, &mut Cli::command(), "tidemark-origin", &mut script);
                Ok(output::print_text(String::from_utf8_lossy(&script))?)
            }
        }
    }
}

/// An error with its causes in one line, without those that its text repeats already.
pub fn report(error: &anyhow::Error) -> String {
    let mut text = error.to_string();
    for cause in error.chain().skip(1).map(ToString::to_string) {
        if !text.contains(&cause) {
            text = format!("{text}: {cause}");
        }
    }
    text
}
