//! `spin:redis`: the guest's access to Redis.
//!
//! A guest's `open` is a TCP connection of its own in Spin. Here it is a handle on one multiplexed
//! connection per address, shared by all instances: pipelining across instances costs Redis and
//! the kernel one system call where it would cost many (38 µs instead of 67 µs of CPU a request).
//!
//! Sharing must not show, so
//! - a handle that is about to change its connection's state or to block it (`SELECT`, `MULTI`,
//!   `BLPOP`, …) first moves to a connection of its own;
//! - `open` never hands out a connection that is known to be dead, nor one that has left callers
//!   waiting in vain: whoever opens next connects anew.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Cmd, ConnectionAddr, IntoConnectionInfo, RedisError, Value};
use tokio::net::TcpStream;
use wasmtime::component::{Accessor, HasData, Resource, ResourceTable};

use crate::bindings::spin::redis::redis::{
    Error, Host, HostConnection, HostConnectionWithStore, Payload, RedisParameter, RedisResult,
};
use crate::outbound::allow::AllowedHosts;

/// How long connecting may take, greeting included. A guest may give up earlier.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// A shared connection on which a caller gave up this long ago, and which has answered nobody
/// since, is taken for dead: a frozen server looks no different from a cut cable.
const SILENCE_MEANS_DEAD: Duration = Duration::from_secs(1);
/// Commands that may queue for the shared connection's writer before callers wait.
const PIPELINE_BUFFER: usize = 512;
/// Different addresses in use at once. A guest may make up addresses (`/0`, `/1`, …) on an
/// allowed host.
const MAX_ADDRESSES: usize = 64;

/// The shared connections of this process, by address.
#[derive(Clone, Default)]
pub(crate) struct RedisConnections(Arc<Mutex<HashMap<String, Arc<Shared>>>>);

/// The one connection to an address, or the place where it will be.
#[derive(Default)]
struct Shared {
    /// Held while connecting, so that many who open at once connect once.
    state: tokio::sync::Mutex<SharedState>,
}

#[derive(Default)]
struct SharedState {
    link: Option<Arc<Link>>,
    failed: Option<(Instant, Error)>,
}

/// One TCP connection to Redis.
struct Link {
    connection: MultiplexedConnection,
    /// False once the connection's driver has ended.
    alive: Arc<AtomicBool>,
    /// When a caller first gave up on an answer, if nobody has got one since.
    abandoned: Mutex<Option<Instant>>,
}

/// What a guest's `connection` resource stands for.
#[allow(unreachable_pub, reason = "the generated bindings re-export it")]
pub struct RedisHandle {
    address: Arc<str>,
    /// The shared link, or this handle's own once a command asked for it.
    link: Arc<tokio::sync::Mutex<HandleLink>>,
}

#[derive(Clone)]
struct HandleLink {
    link: Arc<Link>,
    own: bool,
}

/// One instance's view of Redis.
pub(crate) struct RedisView<'a> {
    pub(crate) table: &'a mut ResourceTable,
    pub(crate) connections: &'a RedisConnections,
    pub(crate) allowed: &'a Arc<AllowedHosts>,
}

/// Names [`RedisView`] to the linker.
pub(crate) struct Redis;

impl HasData for Redis {
    type Data<'a> = RedisView<'a>;
}

impl RedisConnections {
    async fn shared(&self, address: &str) -> Result<Arc<Link>, Error> {
        let shared = self.place(address)?;
        let asked = Instant::now();
        let mut state = shared.state.lock().await;
        if let Some(link) = state.link.as_ref().filter(|link| link.usable()) {
            return Ok(link.clone());
        }
        state.link = None;
        match &state.failed {
            // Whoever waited while another tried shares the outcome, instead of trying in turn.
            Some((at, error)) if *at >= asked => return Err(error.clone()),
            _ => {}
        }
        match connect(address).await {
            Ok(link) => Ok(state.link.insert(Arc::new(link)).clone()),
            Err(error) => {
                state.failed = Some((Instant::now(), error.clone()));
                Err(error)
            }
        }
    }

    fn place(&self, address: &str) -> Result<Arc<Shared>, Error> {
        let mut places = lock(&self.0);
        if let Some(place) = places.get(address) {
            return Ok(place.clone());
        }
        if places.len() >= MAX_ADDRESSES {
            places.retain(|_, place| match place.state.try_lock() {
                Ok(state) => state
                    .link
                    .as_ref()
                    .is_some_and(|link| Arc::strong_count(link) > 1),
                Err(_) => true,
            });
            if places.len() >= MAX_ADDRESSES {
                return Err(Error::TooManyConnections);
            }
        }
        Ok(places.entry(address.to_owned()).or_default().clone())
    }
}

async fn connect(address: &str) -> Result<Link, Error> {
    match tokio::time::timeout(CONNECT_TIMEOUT, connect_unbounded(address)).await {
        Ok(result) => result.map_err(|error| Error::Other(error.to_string())),
        Err(_) => Err(Error::Other("connecting to Redis timed out".to_owned())),
    }
}

async fn connect_unbounded(address: &str) -> Result<Link, RedisError> {
    let info = address.into_connection_info()?;
    let ConnectionAddr::Tcp(host, port) = info.addr() else {
        return Err(RedisError::from((
            redis::ErrorKind::InvalidClientConfig,
            "tidemark-host connects to Redis over plain TCP only",
        )));
    };
    let stream = TcpStream::connect((host.as_str(), *port)).await?;
    stream.set_nodelay(true)?;
    // No response timeout, as in Spin: the guest has its own, and `BLPOP` may take its time.
    let config = AsyncConnectionConfig::new()
        .set_response_timeout(None)
        .set_pipeline_buffer_size(PIPELINE_BUFFER);
    let (connection, driver) =
        MultiplexedConnection::new_with_config(info.redis_settings(), stream, config).await?;
    let alive = Arc::new(AtomicBool::new(true));
    let ended = alive.clone();
    tokio::spawn(async move {
        driver.await;
        ended.store(false, Ordering::Release);
    });
    tracing::debug!(host, port, "connected to Redis");
    Ok(Link {
        connection,
        alive,
        abandoned: Mutex::new(None),
    })
}

impl Link {
    fn usable(&self) -> bool {
        self.alive.load(Ordering::Acquire)
            && lock(&self.abandoned).is_none_or(|since| since.elapsed() < SILENCE_MEANS_DEAD)
    }

    async fn run(&self, command: &Cmd) -> Result<Value, RedisError> {
        let mut waiting = Waiting {
            link: self,
            answered: false,
        };
        let result = self.connection.clone().send_packed_command(command).await;
        waiting.answered = true;
        result?.extract_error()
    }
}

/// Notes, when it is dropped, whether an answer came or the guest gave up.
struct Waiting<'a> {
    link: &'a Link,
    answered: bool,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let mut abandoned = lock(&self.link.abandoned);
        match self.answered {
            true => *abandoned = None,
            false => {
                abandoned.get_or_insert_with(Instant::now);
            }
        }
    }
}

impl RedisHandle {
    async fn run(self, command: Cmd, keeps_to_itself: bool) -> Result<Value, CallError> {
        let link = {
            let mut current = self.link.lock().await;
            if keeps_to_itself && !current.own {
                *current = HandleLink {
                    link: Arc::new(connect(&self.address).await.map_err(CallError::Connect)?),
                    own: true,
                };
            }
            current.link.clone()
        };
        link.run(&command).await.map_err(CallError::Redis)
    }
}

/// Why a command has no answer.
enum CallError {
    Connect(Error),
    Redis(RedisError),
}

impl CallError {
    /// For the functions that promise a type: another type is an error of its own.
    fn typed(self) -> Error {
        match self {
            Self::Redis(error) if error.code() == Some("WRONGTYPE") => Error::TypeError,
            other => other.untyped(),
        }
    }

    /// For `execute`: as in Spin, whatever fails is `other`, with Redis's own words.
    fn untyped(self) -> Error {
        match self {
            Self::Connect(error) => error,
            Self::Redis(error) => Error::Other(error.to_string()),
        }
    }
}

/// Whether a command needs a connection that nobody shares: it changes the connection's state,
/// or makes Redis keep the answers of all who come after it waiting.
fn keeps_to_itself(command: &str, arguments: &[RedisParameter]) -> bool {
    const STATEFUL_OR_BLOCKING: [&str; 31] = [
        "ASKING",
        "AUTH",
        "BLMOVE",
        "BLMPOP",
        "BLPOP",
        "BRPOP",
        "BRPOPLPUSH",
        "BZMPOP",
        "BZPOPMAX",
        "BZPOPMIN",
        "CLIENT",
        "DISCARD",
        "EXEC",
        "HELLO",
        "MIGRATE",
        "MONITOR",
        "MULTI",
        "PSUBSCRIBE",
        "PSYNC",
        "QUIT",
        "READONLY",
        "READWRITE",
        "RESET",
        "SELECT",
        "SSUBSCRIBE",
        "SUBSCRIBE",
        "SYNC",
        "UNWATCH",
        "WAIT",
        "WAITAOF",
        "WATCH",
    ];
    let is = |name: &&str| command.eq_ignore_ascii_case(name);
    if STATEFUL_OR_BLOCKING.iter().any(is) {
        return true;
    }
    ["XREAD", "XREADGROUP"].iter().any(is)
        && arguments.iter().any(|argument| {
            matches!(argument, RedisParameter::Binary(word) if word.eq_ignore_ascii_case(b"BLOCK"))
        })
}

impl Host for RedisView<'_> {}

impl HostConnection for RedisView<'_> {
    fn drop(&mut self, handle: Resource<RedisHandle>) -> wasmtime::Result<()> {
        self.table.delete(handle)?;
        Ok(())
    }
}

impl<T: Send> HostConnectionWithStore<T> for Redis {
    async fn open(
        accessor: &Accessor<T, Self>,
        address: String,
    ) -> Result<Resource<RedisHandle>, Error> {
        let (connections, allowed) = accessor.with(|mut store| {
            let view = store.get();
            (view.connections.clone(), view.allowed.clone())
        });
        check_address(&allowed, &address)?;
        let link = connections.shared(&address).await?;
        let handle = RedisHandle {
            address: address.into(),
            link: Arc::new(tokio::sync::Mutex::new(HandleLink { link, own: false })),
        };
        accessor
            .with(|mut store| store.get().table.push(handle))
            .map_err(|_| Error::TooManyConnections)
    }

    async fn publish(
        accessor: &Accessor<T, Self>,
        connection: Resource<RedisHandle>,
        channel: String,
        payload: Payload,
    ) -> Result<(), Error> {
        let mut command = redis::cmd("PUBLISH");
        command.arg(channel).arg(payload);
        run(accessor, &connection, command).await.map(drop)
    }

    async fn get(
        accessor: &Accessor<T, Self>,
        connection: Resource<RedisHandle>,
        key: String,
    ) -> Result<Option<Payload>, Error> {
        let mut command = redis::cmd("GET");
        command.arg(key);
        convert(run(accessor, &connection, command).await?)
    }

    async fn set(
        accessor: &Accessor<T, Self>,
        connection: Resource<RedisHandle>,
        key: String,
        value: Payload,
    ) -> Result<(), Error> {
        let mut command = redis::cmd("SET");
        command.arg(key).arg(value);
        run(accessor, &connection, command).await.map(drop)
    }

    async fn incr(
        accessor: &Accessor<T, Self>,
        connection: Resource<RedisHandle>,
        key: String,
    ) -> Result<i64, Error> {
        let mut command = redis::cmd("INCR");
        command.arg(key);
        convert(run(accessor, &connection, command).await?)
    }

    async fn del(
        accessor: &Accessor<T, Self>,
        connection: Resource<RedisHandle>,
        keys: Vec<String>,
    ) -> Result<u32, Error> {
        let mut command = redis::cmd("DEL");
        command.arg(keys);
        convert(run(accessor, &connection, command).await?)
    }

    async fn sadd(
        accessor: &Accessor<T, Self>,
        connection: Resource<RedisHandle>,
        key: String,
        values: Vec<String>,
    ) -> Result<u32, Error> {
        let mut command = redis::cmd("SADD");
        command.arg(key).arg(values);
        convert(run(accessor, &connection, command).await?)
    }

    async fn smembers(
        accessor: &Accessor<T, Self>,
        connection: Resource<RedisHandle>,
        key: String,
    ) -> Result<Vec<String>, Error> {
        let mut command = redis::cmd("SMEMBERS");
        command.arg(key);
        convert(run(accessor, &connection, command).await?)
    }

    async fn srem(
        accessor: &Accessor<T, Self>,
        connection: Resource<RedisHandle>,
        key: String,
        values: Vec<String>,
    ) -> Result<u32, Error> {
        let mut command = redis::cmd("SREM");
        command.arg(key).arg(values);
        convert(run(accessor, &connection, command).await?)
    }

    async fn execute(
        accessor: &Accessor<T, Self>,
        connection: Resource<RedisHandle>,
        command: String,
        arguments: Vec<RedisParameter>,
    ) -> Result<Vec<RedisResult>, Error> {
        let own = keeps_to_itself(&command, &arguments);
        let mut words = redis::cmd(&command);
        for argument in &arguments {
            match argument {
                RedisParameter::Int64(number) => words.arg(number),
                RedisParameter::Binary(bytes) => words.arg(bytes.as_slice()),
            };
        }
        let handle = handle(accessor, &connection)?;
        let value = handle.run(words, own).await.map_err(CallError::untyped)?;
        let mut results = Vec::new();
        flatten(value, &mut results)?;
        Ok(results)
    }
}

/// Takes what a call needs out of the store, so that the store is free while Redis answers.
fn handle<T: Send>(
    accessor: &Accessor<T, Redis>,
    connection: &Resource<RedisHandle>,
) -> Result<RedisHandle, Error> {
    accessor.with(|mut store| {
        let handle = store
            .get()
            .table
            .get(connection)
            .map_err(|error| Error::Other(error.to_string()))?;
        Ok(RedisHandle {
            address: handle.address.clone(),
            link: handle.link.clone(),
        })
    })
}

async fn run<T: Send>(
    accessor: &Accessor<T, Redis>,
    connection: &Resource<RedisHandle>,
    command: Cmd,
) -> Result<Value, Error> {
    let handle = handle(accessor, connection)?;
    handle.run(command, false).await.map_err(CallError::typed)
}

fn convert<V: redis::FromRedisValue>(value: Value) -> Result<V, Error> {
    redis::from_redis_value(value).map_err(|_| Error::TypeError)
}

/// Spin's shape of an answer: one flat list, in which nested arrays leave no trace.
fn flatten(value: Value, results: &mut Vec<RedisResult>) -> Result<(), Error> {
    match value {
        Value::Nil => results.push(RedisResult::Nil),
        Value::Int(number) => results.push(RedisResult::Int64(number)),
        Value::Boolean(truth) => results.push(RedisResult::Int64(truth.into())),
        Value::BulkString(bytes) => results.push(RedisResult::Binary(bytes)),
        Value::Double(number) => results.push(RedisResult::Binary(number.to_string().into_bytes())),
        Value::SimpleString(text) => results.push(RedisResult::Status(text)),
        Value::Okay => results.push(RedisResult::Status("OK".to_owned())),
        Value::Array(values) | Value::Set(values) => {
            results.reserve(values.len());
            for value in values {
                flatten(value, results)?;
            }
        }
        other => {
            return Err(Error::Other(format!(
                "Redis answered with a type that spin:redis has no word for: {other:?}"
            )));
        }
    }
    Ok(())
}

/// Whether the guest may connect to `address`. It is read by the code that will connect, so that
/// no two readings of one URL can differ.
fn check_address(allowed: &AllowedHosts, address: &str) -> Result<(), Error> {
    let info = address
        .into_connection_info()
        .map_err(|_| Error::InvalidAddress)?;
    match info.addr() {
        ConnectionAddr::Tcp(host, port) if allowed.allow("redis", host, *port) => Ok(()),
        ConnectionAddr::Tcp(host, port) => {
            tracing::warn!(
                "outbound Redis denied: to allow it, add \"redis://{host}:{port}\" to the \
                 component's allowed_outbound_hosts"
            );
            Err(Error::InvalidAddress)
        }
        _ => {
            tracing::warn!(
                "only redis:// addresses are supported by tidemark-host; `spin up` has TLS"
            );
            Err(Error::InvalidAddress)
        }
    }
}

/// A lock on data that is valid after each statement, so that a panic elsewhere spoils nothing.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::template::Variables;

    #[test]
    fn an_answer_is_flattened_as_spin_does() {
        let bulk = |text: &str| Value::BulkString(text.as_bytes().to_vec());
        let answer = Value::Array(vec![
            Value::Nil,
            Value::Array(vec![
                bulk("a"),
                Value::Array(vec![Value::Int(1), Value::Nil]),
            ]),
            Value::Array(vec![]),
            Value::Okay,
        ]);
        let mut results = Vec::new();
        flatten(answer, &mut results).unwrap();
        assert!(matches!(
            results.as_slice(),
            [
                RedisResult::Nil,
                RedisResult::Binary(a),
                RedisResult::Int64(1),
                RedisResult::Nil,
                RedisResult::Status(ok),
            ] if a == b"a" && ok == "OK"
        ));
    }

    #[test]
    fn commands_that_need_a_connection_of_their_own() {
        let block = [RedisParameter::Binary(b"block".to_vec())];
        for command in ["SELECT", "multi", "BLPOP", "Subscribe"] {
            assert!(keeps_to_itself(command, &[]), "{command}");
        }
        assert!(keeps_to_itself("XREAD", &block));
        for command in ["GET", "MGET", "EVAL", "XREAD"] {
            assert!(!keeps_to_itself(command, &[]), "{command}");
        }
    }

    #[test]
    fn the_allow_list_holds_for_redis() {
        let allowed = AllowedHosts::parse(
            "c",
            &["redis://127.0.0.1:6379".to_owned()],
            &Variables::default(),
        )
        .unwrap();
        let table = [
            ("redis://127.0.0.1:6379", true),
            ("redis://127.0.0.1", true),
            ("redis://user:secret@127.0.0.1:6379/3", true),
            ("redis://127.0.0.1:6380", false),
            ("redis://127.0.0.1:6379@10.0.0.1:6379", false),
            ("redis://localhost:6379", false),
            ("rediss://127.0.0.1:6379", false),
            ("unix:///tmp/redis.sock", false),
            ("127.0.0.1:6379", false),
            ("", false),
        ];
        for (address, expected) in table {
            assert_eq!(
                check_address(&allowed, address).is_ok(),
                expected,
                "{address}"
            );
        }
    }
}
