//! `top`: the console in the terminal.

use anyhow::{Context as _, bail};
use clap::Args;

use super::output::{OutputArgs, print_json_line};
use crate::{
    shutdown,
    top::{
        View,
        stream::{Connection, News, Source},
        terminal,
    },
};

#[derive(Debug, Args)]
pub(super) struct TopArgs {
    /// The origin to look at.
    #[arg(
        long,
        env = "TIDEMARK_ORIGIN_URL",
        value_name = "URL",
        default_value = "http://127.0.0.1:3001"
    )]
    origin: String,
    /// The origin's token, if it has one.
    #[arg(
        long,
        env = "TIDEMARK_ADMIN_TOKEN",
        value_name = "TOKEN",
        hide_env_values = true
    )]
    admin_token: Option<String>,
    #[command(flatten)]
    output: OutputArgs,
}

pub(super) async fn top(args: TopArgs) -> anyhow::Result<()> {
    let stop = shutdown::signal().context("cannot listen for signals")?;
    if !args.output.json && !terminal::is_one() {
        bail!("top needs a terminal; for a program, or a pipe, there is --json");
    }
    let token = args.admin_token.filter(|token| !token.is_empty());
    let source = Source::new(&args.origin, token)?;
    // Before the screen is taken: that an address or token is wrong is no state to be watched.
    let connection = source.connect().await;
    let connection = connection.with_context(|| format!("cannot listen to {}", args.origin))?;
    if args.output.json {
        return tokio::select! {
            ended = print(source, connection) => ended,
            () = stop => Ok(()),
        };
    }
    let view = View::of(args.origin);
    let news = source.follow(connection);
    Ok(terminal::show(view, news, stop).await?)
}

/// Prints what is heard, one object a line; what becomes of the connection goes to standard error.
async fn print(source: Source, connection: Connection) -> anyhow::Result<()> {
    let mut news = source.follow(connection);
    let mut is_lost = false;
    while let Some(news) = news.recv().await {
        match news {
            News::Heard(heard) => print_json_line(&heard)?,
            News::Lost(why) => {
                if !std::mem::replace(&mut is_lost, true) {
                    eprintln!("disconnected, trying again: {why}");
                }
            }
            News::Found => is_lost = false,
        }
    }
    bail!("listening has ended by a failure")
}
