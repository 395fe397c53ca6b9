//! Writers: change rows past Tidemark with plain SQL, and through it with commands.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use http::{Method, StatusCode};
use http_body_util::Full;
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection, postgres::PgConnectOptions};
use tokio::time;

use super::{
    line::Line,
    log::Command,
    now_us,
    plan::{self, Plan, Step},
    random::Chance,
    readers::{Reader, Shared, text},
    workload::{CHILDREN, GROUPS, NOTICES, Question, REGISTERS},
};

/// How often a transaction is begun again that PostgreSQL has refused for its timing.
const ATTEMPTS: u32 = 3;

/// How soon a writer looks again for a server that was not there.
const RETRY: Duration = Duration::from_millis(50);

/// Tags of the workload's transactions; the tables' first rows have 0.
static NEXT_TAG: AtomicI64 = AtomicI64::new(1);

/// A tag that no other transaction has.
pub fn new_tag() -> i64 {
    NEXT_TAG.fetch_add(1, Ordering::Relaxed)
}

/// One writer of plain SQL.
#[derive(Debug)]
pub struct SqlWriter {
    /// What it shares with the others.
    pub shared: Arc<Shared>,
    /// Where it connects.
    pub database: PgConnectOptions,
    /// Its chances.
    pub chance: Chance,
    /// The longest pause between two transactions, in ms.
    pub longest_pause_ms: u64,
}

impl SqlWriter {
    /// Writes until it is over.
    pub async fn run(mut self) {
        let mut connection = None;
        while !self.shared.is_over() {
            let pause = Duration::from_millis(self.chance.between(0, self.longest_pause_ms));
            time::sleep(pause).await;
            let plan = plan::draw(&mut self.chance);
            if connection.is_none() {
                connection = self.connect().await;
            }
            let Some(open) = &mut connection else {
                time::sleep(RETRY).await;
                continue;
            };
            for _ in 0..ATTEMPTS {
                match run(open, &self.shared, &plan).await {
                    Ok(()) => break,
                    Err(error) if is_refusal(&error) => {
                        if rollback(open).await.is_err() {
                            connection = None;
                            break;
                        }
                        if !is_transient(&error) {
                            break;
                        }
                    }
                    Err(_) => {
                        connection = None;
                        break;
                    }
                }
            }
        }
    }

    async fn connect(&self) -> Option<PgConnection> {
        let options = self
            .database
            .clone()
            .options([("deadlock_timeout", "50ms")]);
        PgConnection::connect_with(&options).await.ok()
    }
}

/// Runs a plan as one transaction.
async fn run(connection: &mut PgConnection, shared: &Shared, plan: &Plan) -> sqlx::Result<()> {
    let tag = new_tag();
    let begin = plan.begin;
    let mut sql = format!("{begin}; SELECT set_config('judge.tag', '{tag}', true)");
    for step in &plan.steps {
        match step {
            Step::Sql(text) => {
                execute(connection, &sql).await?;
                sql.clone_from(text);
            }
            Step::Pause(pause) => time::sleep(*pause).await,
        }
    }
    execute(connection, &sql).await?;
    execute(connection, plan.end).await?;
    if plan.end == "COMMIT" {
        let known = now_us();
        shared.log.with(|log| log.known_by.insert(tag, known));
    }
    Ok(())
}

async fn rollback(connection: &mut PgConnection) -> sqlx::Result<()> {
    execute(connection, "ROLLBACK").await
}

async fn execute(connection: &mut PgConnection, sql: &str) -> sqlx::Result<()> {
    // What the workload writes: numbers of its own in texts of its own.
    sqlx::raw_sql(AssertSqlSafe(sql))
        .execute(connection)
        .await?;
    Ok(())
}

/// PostgreSQL has refused it, rather than gone.
fn is_refusal(error: &sqlx::Error) -> bool {
    // Class 57 is a server that ends.
    code(error).is_some_and(|code| !code.starts_with("57"))
}

fn is_transient(error: &sqlx::Error) -> bool {
    matches!(code(error).as_deref(), Some("40001" | "40P01"))
}

fn code(error: &sqlx::Error) -> Option<String> {
    let error = error.as_database_error()?;
    error.code().map(std::borrow::Cow::into_owned)
}

/// One writer of commands, who reads what was written.
#[derive(Debug)]
pub struct Commander {
    /// What it shares with the others.
    pub shared: Arc<Shared>,
    /// Where commands go.
    pub origin: Line,
    /// Who reads: one in each region, the first one at home.
    pub readers: Vec<Reader>,
    /// Its chances.
    pub chance: Chance,
    /// The longest pause between two commands, in ms.
    pub longest_pause_ms: u64,
}

impl Commander {
    /// Writes and reads until it is over.
    pub async fn run(mut self) {
        let questions = self.shared.questions.iter().enumerate();
        let places: HashMap<String, usize> = questions
            .map(|(place, question)| (question.path(), place))
            .collect();
        while !self.shared.is_over() {
            let pause = Duration::from_millis(self.chance.between(0, self.longest_pause_ms));
            time::sleep(pause).await;
            let order = self.order();
            let Some(command) = self.send(&order).await else {
                continue;
            };
            let Some(&question) = places.get(&order.shows.path()) else {
                continue;
            };
            for reader in &mut self.readers {
                // Both kinds of client: one who only relies on the answer, one who sends back what
                // was in it.
                for at_least in [None, command.at_least] {
                    reader.read(question, at_least).await;
                }
            }
        }
    }

    fn order(&mut self) -> Order {
        let id = self.chance.one_of(REGISTERS);
        let group = self.chance.one_of(GROUPS);
        let view = if self.chance.percent(50) {
            "plain"
        } else {
            "slow"
        };
        let registers = |group| Question::Registers {
            group,
            half: None,
            view,
        };
        let room = Question::Room {
            group,
            is_named: view == "slow",
        };
        match self.chance.below(8) {
            0 | 1 => Order::new(format!("/register/{id}"), json!({}), Question::Register(id)),
            2 | 3 => Order::new(
                format!("/register/{id}/group"),
                json!({"group": group}),
                registers(group),
            ),
            4 => Order::new(
                format!("/register/{id}/group"),
                json!({"group": group}),
                room,
            ),
            5 | 6 => {
                let id = self.chance.one_of(CHILDREN);
                let shows = match view {
                    "plain" => Question::Tree(group),
                    _ => Question::Nest(group),
                };
                Order::new(format!("/child/{id}"), json!({}), shows)
            }
            _ => {
                let id = self.chance.one_of(NOTICES);
                Order::new(format!("/notice/{id}"), json!({}), Question::Notices)
            }
        }
    }

    async fn send(&mut self, order: &Order) -> Option<Command> {
        let tag = new_tag();
        let mut body = order.body.clone();
        body["tag"] = json!(tag);
        let request = self.origin.request(Method::PUT, &order.path);
        let request = request
            .body(Full::new(Bytes::from(body.to_string())))
            .ok()?;
        let Ok((head, body)) = self.origin.send(request).await else {
            self.refused(0);
            return None;
        };
        let answered = now_us();
        match head.status {
            StatusCode::OK => {}
            // The row is not there now: nothing was changed.
            StatusCode::NOT_FOUND => return None,
            StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT => {
                self.refused(head.status.as_u16());
                return None;
            }
            // The database was lost during the commit, and nobody knows.
            StatusCode::INTERNAL_SERVER_ERROR if is_unknown(&body) => {
                self.refused(head.status.as_u16());
                return None;
            }
            status => {
                self.refused(status.as_u16());
                let text = String::from_utf8_lossy(&body).into_owned();
                let path = &order.path;
                self.shared
                    .log
                    .with(|log| log.oddities.push(format!("PUT {path}: {status} {text}")));
                return None;
            }
        }
        let command = Command {
            tag,
            answered,
            at_least: text(&head.headers, "tidemark-at-least").parse().ok(),
            applied: text(&head.headers, "tidemark-invalidation") == "applied",
        };
        if let Some(at_least) = command.at_least {
            self.shared.at_least.fetch_max(at_least, Ordering::Relaxed);
        }
        self.shared.log.with(|log| log.commands.push(command));
        Some(command)
    }

    fn refused(&self, status: u16) {
        self.shared
            .log
            .with(|log| *log.refused_commands.entry(status).or_default() += 1);
    }
}

/// Whether a problem says that the command may have been carried out or not.
fn is_unknown(problem: &[u8]) -> bool {
    let problem: Option<Value> = serde_json::from_slice(problem).ok();
    problem.is_some_and(|problem| problem["type"] == "urn:tidemark:problem:outcome-unknown")
}

/// A command to be sent.
struct Order {
    path: String,
    body: Value,
    /// Where its change shows.
    shows: Question,
}

impl Order {
    fn new(path: String, body: Value, shows: Question) -> Self {
        Self { path, body, shows }
    }
}
