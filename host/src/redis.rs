//! `spin:redis`: the guest's access to Redis.
//!
//! A guest's `open` is a TCP connection of its own in Spin. Here it is a handle on one multiplexed
//! connection per address, shared by all instances of a thread: pipelining across instances costs Redis and
//! the kernel one system call where it would cost many (38 µs instead of 67 µs of CPU a request).
//! So commands that change their connection's state, or block it, are refused.
//!
//! `open` never hands out a connection that is known to be dead, nor one on which a caller gave up
//! and which has answered nobody since (a frozen server looks no different from a cut cable):
//! whoever opens next connects anew, while the others keep what they have.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{
    AsyncConnectionConfig, Cmd, ConnectionAddr, ConnectionInfo, FromRedisValue, IntoConnectionInfo,
    RedisResult, Value, cmd,
};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use wasmtime::component::{Accessor, HasSelf, Resource};

use crate::bindings::spin::redis::redis as spin;
use crate::bindings::spin::redis::redis::{Error, Payload, RedisParameter};
use crate::guest::GuestStore;
use crate::outbound::allow::AllowedHosts;

/// How long connecting may take, greeting included. A guest may give up earlier.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Commands that may queue for the shared connection's writer before callers wait.
const PIPELINE_BUFFER: usize = 512;
/// Commands that would change the shared connection's state, or keep everyone's answers waiting.
const NOT_SHAREABLE: &str = "ASKING AUTH BLMOVE BLMPOP BLPOP BRPOP BRPOPLPUSH BZMPOP BZPOPMAX \
     BZPOPMIN CLIENT DISCARD EXEC HELLO MIGRATE MONITOR MULTI PSUBSCRIBE PSYNC QUIT READONLY \
     READWRITE RESET SELECT SSUBSCRIBE SUBSCRIBE SYNC UNWATCH WAIT WAITAOF WATCH XREAD XREADGROUP";

/// The connections that some instance holds, by address. Locked while connecting, so that many who
/// open at once connect once.
#[derive(Clone, Default)]
pub(crate) struct RedisLinks(Arc<tokio::sync::Mutex<HashMap<String, SharedLink>>>);

/// What a guest's `connection` resource stands for.
#[allow(unreachable_pub, reason = "the generated bindings re-export it")]
pub type SharedLink = Arc<Link>;

/// One TCP connection to Redis.
#[allow(unreachable_pub, reason = "the generated bindings re-export it")]
pub struct Link {
    connection: MultiplexedConnection,
    /// Ends with the connection.
    driver: JoinHandle<()>,
    /// Whether a caller has given up on an answer, and none has come since.
    abandoned: AtomicBool,
}

impl RedisLinks {
    async fn link(&self, address: String, info: &ConnectionInfo) -> Answer<SharedLink> {
        let mut links = self.0.lock().await;
        links.retain(|_, link| link.usable() && Arc::strong_count(link) > 1);
        if let Some(link) = links.get(&address) {
            return Ok(link.clone());
        }
        let link = match timeout(CONNECT_TIMEOUT, Link::connect(info)).await {
            Ok(connected) => Arc::new(connected.map_err(other)?),
            Err(_) => return Err(other("connecting to Redis timed out")),
        };
        links.insert(address, link.clone());
        Ok(link)
    }
}

impl Link {
    async fn connect(info: &ConnectionInfo) -> RedisResult<Self> {
        let ConnectionAddr::Tcp(host, port) = info.addr() else {
            return Err(io::Error::from(io::ErrorKind::Unsupported).into());
        };
        let stream = TcpStream::connect((host.as_str(), *port)).await?;
        stream.set_nodelay(true)?;
        // No response timeout, as in Spin: the guest has its own.
        let config = AsyncConnectionConfig::new()
            .set_response_timeout(None)
            .set_pipeline_buffer_size(PIPELINE_BUFFER);
        // A proxy may close the connection on what it does not know: twemproxy does on CLIENT SETINFO.
        let settings = info.redis_settings().clone().set_skip_set_lib_name();
        let (connection, driver) =
            MultiplexedConnection::new_with_config(&settings, stream, config).await?;
        tracing::debug!(host, port, "connected to Redis");
        Ok(Self {
            connection,
            driver: tokio::spawn(driver),
            abandoned: AtomicBool::new(false),
        })
    }

    fn usable(&self) -> bool {
        !self.driver.is_finished() && !self.abandoned.load(Relaxed)
    }

    async fn run(&self, command: &Cmd) -> RedisResult<Value> {
        let giving_up = GivingUp(&self.abandoned);
        let result = self.connection.clone().send_packed_command(command).await;
        std::mem::forget(giving_up);
        self.abandoned.store(false, Relaxed);
        result?.extract_error()
    }
}

/// Dropped by a caller that waits no longer.
struct GivingUp<'a>(&'a AtomicBool);

impl Drop for GivingUp<'_> {
    fn drop(&mut self) {
        self.0.store(true, Relaxed);
    }
}

type Answer<V> = Result<V, Error>;
type Handle = Resource<SharedLink>;
type At<T> = Accessor<T, HasSelf<GuestStore>>;

impl spin::Host for GuestStore {}

impl spin::HostConnection for GuestStore {
    fn drop(&mut self, handle: Handle) -> wasmtime::Result<()> {
        self.table.delete(handle)?;
        Ok(())
    }
}

impl<T: Send> spin::HostConnectionWithStore<T> for HasSelf<GuestStore> {
    async fn open(at: &At<T>, address: String) -> Answer<Handle> {
        let (guest, links) = at.with(|mut store| {
            let store = store.get();
            (store.guest.clone(), store.redis.clone())
        });
        let info = permitted(&guest.allowed, &address)?;
        let link = links.link(address, &info).await?;
        at.with(|mut store| store.get().table.push(link))
            .map_err(|_| Error::TooManyConnections)
    }

    async fn publish(at: &At<T>, on: Handle, channel: String, payload: Payload) -> Answer<()> {
        call(at, on, cmd("PUBLISH").arg(channel).arg(payload)).await
    }

    async fn get(at: &At<T>, on: Handle, key: String) -> Answer<Option<Payload>> {
        call(at, on, cmd("GET").arg(key)).await
    }

    async fn set(at: &At<T>, on: Handle, key: String, value: Payload) -> Answer<()> {
        call(at, on, cmd("SET").arg(key).arg(value)).await
    }

    async fn incr(at: &At<T>, on: Handle, key: String) -> Answer<i64> {
        call(at, on, cmd("INCR").arg(key)).await
    }

    async fn del(at: &At<T>, on: Handle, keys: Vec<String>) -> Answer<u32> {
        call(at, on, cmd("DEL").arg(keys)).await
    }

    async fn sadd(at: &At<T>, on: Handle, key: String, values: Vec<String>) -> Answer<u32> {
        call(at, on, cmd("SADD").arg(key).arg(values)).await
    }

    async fn smembers(at: &At<T>, on: Handle, key: String) -> Answer<Vec<String>> {
        call(at, on, cmd("SMEMBERS").arg(key)).await
    }

    async fn srem(at: &At<T>, on: Handle, key: String, values: Vec<String>) -> Answer<u32> {
        call(at, on, cmd("SREM").arg(key).arg(values)).await
    }

    async fn execute(
        at: &At<T>,
        on: Handle,
        command: String,
        arguments: Vec<RedisParameter>,
    ) -> Answer<Vec<spin::RedisResult>> {
        check_shareable(&command)?;
        let mut words = cmd(&command);
        for argument in &arguments {
            match argument {
                RedisParameter::Int64(number) => words.arg(number),
                RedisParameter::Binary(bytes) => words.arg(bytes.as_slice()),
            };
        }
        // As in Spin, whatever fails is `other`, with Redis's own words.
        let answer = link(at, on)?.run(&words).await.map_err(other)?;
        let mut results = Vec::new();
        flatten(answer, &mut results)?;
        Ok(results)
    }
}

/// Takes the link out of the store, so that the store is free while Redis answers.
fn link<T: Send>(at: &At<T>, on: Handle) -> Answer<SharedLink> {
    at.with(|mut store| store.get().table.get(&on).cloned())
        .map_err(other)
}

/// Runs a command whose answer has a type; another type is an error of its own.
async fn call<T: Send, V: FromRedisValue>(at: &At<T>, on: Handle, command: &Cmd) -> Answer<V> {
    match link(at, on)?.run(command).await {
        Ok(value) => redis::from_redis_value(value).map_err(|_| Error::TypeError),
        Err(error) if error.code() == Some("WRONGTYPE") => Err(Error::TypeError),
        Err(error) => Err(other(error)),
    }
}

fn other(problem: impl ToString) -> Error {
    Error::Other(problem.to_string())
}

fn check_shareable(command: &str) -> Answer<()> {
    let mut refused = NOT_SHAREABLE.split(' ');
    match refused.find(|name| name.eq_ignore_ascii_case(command)) {
        None => Ok(()),
        Some(name) => Err(other(format!(
            "tidemark-host shares one connection among many instances: {name} is not supported"
        ))),
    }
}

/// Spin's shape of an answer: one flat list, in which nested arrays leave no trace.
fn flatten(value: Value, results: &mut Vec<spin::RedisResult>) -> Answer<()> {
    results.push(match value {
        Value::Nil => spin::RedisResult::Nil,
        Value::Int(number) => spin::RedisResult::Int64(number),
        Value::BulkString(bytes) => spin::RedisResult::Binary(bytes),
        Value::SimpleString(text) => spin::RedisResult::Status(text),
        Value::Okay => spin::RedisResult::Status("OK".to_owned()),
        Value::Array(values) => {
            let mut values = values.into_iter();
            return values.try_for_each(|value| flatten(value, results));
        }
        _ => {
            return Err(other(
                "Redis answered with a type that spin:redis has no word for",
            ));
        }
    });
    Ok(())
}

/// Where `address` leads, if the guest may connect there. It is read by the code that will
/// connect, so that no two readings of one URL can differ.
fn permitted(allowed: &AllowedHosts, address: &str) -> Answer<ConnectionInfo> {
    let info = address
        .into_connection_info()
        .map_err(|_| Error::InvalidAddress)?;
    match info.addr() {
        ConnectionAddr::Tcp(host, port) if allowed.allow("redis", host, *port) => Ok(info),
        ConnectionAddr::Tcp(..) => Err(Error::InvalidAddress),
        _ => {
            tracing::warn!(
                "only redis:// addresses are supported by tidemark-host; `spin up` has TLS"
            );
            Err(Error::InvalidAddress)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::template::Variables;

    #[test]
    fn an_answer_is_flattened_as_spin_does() {
        let bulk = |text: &str| Value::BulkString(text.as_bytes().to_vec());
        let inner = Value::Array(vec![Value::Int(1), Value::Nil]);
        let nested = Value::Array(vec![bulk("a"), inner]);
        let mut results = Vec::new();
        let answer = vec![Value::Nil, nested, Value::Array(vec![]), Value::Okay];
        flatten(Value::Array(answer), &mut results).unwrap();
        assert!(matches!(
            results.as_slice(),
            [
                spin::RedisResult::Nil,
                spin::RedisResult::Binary(a),
                spin::RedisResult::Int64(1),
                spin::RedisResult::Nil,
                spin::RedisResult::Status(ok),
            ] if a == b"a" && ok == "OK"
        ));
    }

    #[test]
    fn commands_that_can_not_share_a_connection_are_refused_by_name() {
        for command in ["SELECT", "multi", "BLPOP", "Subscribe", "XREAD"] {
            let Err(Error::Other(message)) = check_shareable(command) else {
                panic!("{command}");
            };
            assert!(message.contains(&command.to_uppercase()), "{message}");
            assert!(message.contains("shares one connection"), "{message}");
        }
        for command in ["GET", "MGET", "EVAL", "SET"] {
            assert!(check_shareable(command).is_ok(), "{command}");
        }
    }

    #[test]
    fn the_allow_list_holds_for_redis() {
        let entries = ["redis://127.0.0.1:6379".to_owned()];
        let allowed = AllowedHosts::parse("c".to_owned(), &entries, &Variables::default()).unwrap();
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
            assert_eq!(permitted(&allowed, address).is_ok(), expected, "{address}");
        }
    }
}
