//! `tail`: the relay's events, as they happen.

use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::Args;
use futures_util::StreamExt as _;
use serde::Serialize;
use tidemark_shared::{event::Event, part};
use tokio::time;

use super::{
    arguments::RedisArgs,
    output::{OutputArgs, moment, print_json_line, print_line},
};
use crate::{clock::now_ms, shutdown};

/// A relay says something many times a second, also where nothing changes.
const SILENCE: Duration = Duration::from_secs(2);

/// How many scopes are shown of one event.
const SHOWN: usize = 20;

#[derive(Debug, Args)]
pub(super) struct TailArgs {
    #[command(flatten)]
    redis: RedisArgs,
    /// Also show events of which nobody is told anything but the time.
    #[arg(long)]
    heartbeats: bool,
    #[command(flatten)]
    output: OutputArgs,
}

/// An event as a program reads it.
#[derive(Serialize)]
struct Heard<'a> {
    #[serde(flatten)]
    event: &'a Event,
    /// How long after the snapshot that has its changes it came, in ms.
    age_ms: i64,
}

pub(super) async fn tail(args: TailArgs) -> anyhow::Result<()> {
    let stop = shutdown::signal().context("cannot listen for signals")?;
    tokio::select! {
        ended = listen(&args) => ended,
        () = stop => Ok(()),
    }
}

async fn listen(args: &TailArgs) -> anyhow::Result<()> {
    let client = args.redis.targets()?.home;
    let mut subscription = client
        .get_async_pubsub()
        .await
        .context("cannot connect to Redis; is --redis right?")?;
    subscription
        .subscribe(args.redis.keyspace().events())
        .await?;
    let mut messages = subscription.into_on_message();
    let mut silent = false;
    loop {
        let Ok(message) = time::timeout(SILENCE, messages.next()).await else {
            if !std::mem::replace(&mut silent, true) {
                eprintln!("no event for {SILENCE:?}; does a relay write to this Redis?");
            }
            continue;
        };
        let Some(message) = message else {
            bail!("Redis has ended the connection");
        };
        silent = false;
        let age = |event: &Event| now_ms().saturating_sub(event.as_of);
        match serde_json::from_slice::<Event>(message.get_payload_bytes()) {
            Ok(event) if event.scopes.is_empty() && !args.heartbeats => {}
            Ok(event) if args.output.json => print_json_line(&Heard {
                age_ms: age(&event),
                event: &event,
            })?,
            Ok(event) => print_line(line(&event, age(&event)))?,
            Err(error) => eprintln!("an event that can't be read: {error}"),
        }
    }
}

fn line(event: &Event, age_ms: i64) -> String {
    let told = part::finest(&event.scopes);
    let scopes = told.iter().take(SHOWN).map(ToString::to_string);
    let scopes = scopes.collect::<Vec<_>>().join(" ");
    let more = match told.len().saturating_sub(SHOWN) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    format!(
        "{} {} {age_ms} ms: {scopes}{more}",
        moment(event.as_of),
        event.id
    )
}
