//! The instance's one connection to Redis: opened when it is first needed, and again after a failure.
//!
//! Spin opens a TCP connection for each `open` and bounds no call. So the connection is kept for the
//! life of the instance, where concurrent requests pipeline on it, and each step has a deadline.
//! A step that gets no reply gives the connection up: whatever was wrong with it, the next step starts
//! anew. Several in a row, and a [`Breaker`] keeps all away from Redis for a while, so that a Redis
//! which is gone costs an instance a few deadlines and not one for each request.
//!
//! An error reply is a reply. It fails its step, but Redis is there, and so is the connection.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeSet,
    mem,
    rc::Rc,
    time::Duration,
};

use bytes::Bytes;
use spin_sdk::redis::{Connection, Error, RedisParameter, RedisResult};
use tidemark_shared::breaker::{Breaker, Limits, Pass, Transition};

use crate::{
    clock::ticks_ms,
    deadline::{Deadlines, Elapsed},
    handover::{Giver, handover},
    log, refusal,
    watch::Watch,
};

/// Redis has no command for it before 8.4.
const DELETE_IF_EQUAL: &str =
    "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end return 0";

/// Sets the names at some places to new stamps, if they have no value (NX) or only if they have one (XX), and
/// gives what all names have then. The first name is the tidemark's: a proxy runs this where that is, so that
/// a stamp can't come to be at a server where no relay would ever replace it.
const SET_STAMPS: &str = "for i = 3, #ARGV, 2 do \
    redis.call('SET', KEYS[tonumber(ARGV[i])], ARGV[i + 1], 'PX', ARGV[1], ARGV[2]) end \
    return redis.call('MGET', unpack(KEYS))";

/// Adds each weight to its member's score, then lets only the highest ones remain, for a while. In one
/// command: these are many, and each would cost Redis a message of its own.
const ADD_SCORES: &str = "for i = 3, #ARGV, 2 do redis.call('ZINCRBY', KEYS[1], ARGV[i], ARGV[i + 1]) end \
    redis.call('ZREMRANGEBYRANK', KEYS[1], 0, -1 - ARGV[1]) \
    return redis.call('PEXPIRE', KEYS[1], ARGV[2])";

/// Adds each amount to its field, in one command as well.
const ADD_TO_FIELDS: &str = "for place = 1, #ARGV, 2 do \
    redis.call('HINCRBY', KEYS[1], ARGV[place], ARGV[place + 1]) end";

/// So many connections in a row that fail, and Redis is taken to be gone. A frozen one takes a deadline
/// for each.
const FAILURES: u32 = 3;

/// For so long Redis is not asked then, before one request tries again. Hits are back so much later
/// than Redis, and while it is gone one request pays a deadline so often.
const PAUSE: Duration = Duration::from_millis(500);

/// The way to this region's Redis.
pub(crate) struct Redis {
    /// May hold credentials: never logged.
    url: String,
    /// Over the steps that somebody waits for.
    watch: Rc<Watch>,
    /// Over those that store something, behind an answer.
    store_watch: Rc<Watch>,
    link: RefCell<Link>,
    breaker: RefCell<Breaker>,
    /// The codes of error replies that have been logged: one that keeps refusing is one matter.
    refusals: RefCell<BTreeSet<String>>,
    /// Whether stamps have been lost, which is one matter as well.
    has_lost_stamps: Cell<bool>,
}

enum Link {
    Closed,
    /// One request is opening it; these wait for it.
    Opening(Vec<Giver<Rc<Connection>>>),
    Open(Rc<Connection>),
}

/// What a new stamp may replace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Overwrite {
    /// A name that has a value keeps it.
    Nothing,
    /// The name is known to hold something that is no stamp.
    WhatIsNoStamp,
}

impl Overwrite {
    /// As an option of `SET`.
    fn condition(self) -> &'static str {
        match self {
            Self::Nothing => "NX",
            Self::WhatIsNoStamp => "XX",
        }
    }
}

/// Why a step failed. Never the client's problem: the request goes on without Redis.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RedisError {
    /// There is no connection, or no more.
    #[error("{}", reason(.0))]
    Lost(Error),
    /// Redis replied with an error.
    #[error("{}", reason(.0))]
    Refused(Error),
    #[error(transparent)]
    Elapsed(#[from] Elapsed),
    #[error("the request that was opening the connection failed")]
    NotOpened,
    #[error("an answer of another form than the command's")]
    Form,
    #[error("Redis is not asked for a while")]
    GivenUp,
}

impl From<Error> for RedisError {
    /// Of a command.
    fn from(error: Error) -> Self {
        match refusal::code(&error) {
            Some(_) => Self::Refused(error),
            None => Self::Lost(error),
        }
    }
}

impl Redis {
    pub(crate) fn new(url: &str, deadlines: Deadlines) -> Self {
        let limits = Limits {
            failures: FAILURES,
            pause: PAUSE,
            probe: deadlines.redis_store() + PAUSE,
        };
        Self {
            url: url.to_owned(),
            watch: Watch::new(deadlines.redis),
            store_watch: Watch::new(deadlines.redis_store()),
            link: RefCell::new(Link::Closed),
            breaker: RefCell::new(Breaker::new(limits)),
            refusals: RefCell::default(),
            has_lost_stamps: Cell::default(),
        }
    }

    /// The values of some names, all at the same moment: one `MGET`.
    pub(crate) async fn get_all(&self, names: &[String]) -> Result<Vec<Option<Bytes>>, RedisError> {
        self.step("get", &self.watch, async |connection| {
            let arguments = names.iter().map(|name| text(name));
            values_of(names, connection.execute("MGET", arguments).await?)
        })
        .await
    }

    /// Sets the names at these places to stamps, and gives the values that all names have then: at the server
    /// that has the first one, the tidemark's, and nowhere else.
    pub(crate) async fn set_stamps(
        &self,
        names: &[String],
        stamps: &[(usize, String)],
        life: Duration,
        overwrite: Overwrite,
    ) -> Result<Vec<Option<Bytes>>, RedisError> {
        self.step("set-stamps", &self.watch, async |connection| {
            let mut arguments = vec![text(SET_STAMPS), number(names.len())];
            arguments.extend(names.iter().map(|name| text(name)));
            arguments.extend([millis(life), text(overwrite.condition())]);
            for (place, stamp) in stamps {
                // Lua counts from 1.
                arguments.extend([number(place + 1), text(stamp)]);
            }
            values_of(names, connection.execute("EVAL", arguments).await?)
        })
        .await
    }

    /// Sets a name.
    pub(crate) async fn set(
        &self,
        name: &str,
        value: Vec<u8>,
        life: Duration,
    ) -> Result<(), RedisError> {
        self.step("set", &self.store_watch, async |connection| {
            let value = RedisParameter::Binary(value);
            let arguments = [text(name), value, text("PX"), millis(life)];
            connection.execute("SET", arguments).await?;
            Ok(())
        })
        .await
    }

    /// Sets a name that has no value, for a while; whether it had none.
    pub(crate) async fn set_if_absent(
        &self,
        name: &str,
        value: &str,
        life: Duration,
    ) -> Result<bool, RedisError> {
        self.step("set-if-absent", &self.watch, async |connection| {
            let arguments = [
                text(name),
                text(value),
                text("PX"),
                millis(life),
                text("NX"),
            ];
            let said = connection.execute("SET", arguments).await?;
            Ok(matches!(&*said, [RedisResult::Status(_)]))
        })
        .await
    }

    /// Deletes a name if this is still its value.
    pub(crate) async fn delete_if_equal(&self, name: &str, value: &str) -> Result<(), RedisError> {
        self.step("delete-if-equal", &self.watch, async |connection| {
            let arguments = [
                text(DELETE_IF_EQUAL),
                RedisParameter::Int64(1),
                text(name),
                text(value),
            ];
            connection.execute("EVAL", arguments).await?;
            Ok(())
        })
        .await
    }

    /// Adds to the scores of a sorted set's members, and keeps the `most` that have the highest.
    pub(crate) async fn add_scores(
        &self,
        name: &str,
        weights: &[(String, f64)],
        most: usize,
        life: Duration,
    ) -> Result<(), RedisError> {
        self.step("add-scores", &self.store_watch, async |connection| {
            let mut arguments = vec![
                text(ADD_SCORES),
                RedisParameter::Int64(1),
                text(name),
                number(most),
                millis(life),
            ];
            for (member, weight) in weights {
                // Not the plain form: of a large number that has hundreds of digits.
                arguments.extend([text(&format!("{weight:e}")), text(member)]);
            }
            connection.execute("EVAL", arguments).await?;
            Ok(())
        })
        .await
    }

    /// Adds to the numbers in a hash's fields.
    pub(crate) async fn add_to_fields(
        &self,
        name: &str,
        amounts: &[(String, u64)],
    ) -> Result<(), RedisError> {
        self.step("add-to-fields", &self.store_watch, async |connection| {
            let mut arguments = vec![text(ADD_TO_FIELDS), RedisParameter::Int64(1), text(name)];
            for (field, amount) in amounts {
                let amount = i64::try_from(*amount).unwrap_or(i64::MAX);
                arguments.extend([text(field), RedisParameter::Int64(amount)]);
            }
            connection.execute("EVAL", arguments).await?;
            Ok(())
        })
        .await
    }

    async fn step<T>(
        &self,
        name: &str,
        watch: &Rc<Watch>,
        work: impl AsyncFnOnce(&Connection) -> Result<T, RedisError>,
    ) -> Result<T, RedisError> {
        let begun_ms = ticks_ms();
        let pass = self.breaker.borrow_mut().admit(begun_ms);
        let pass = pass.ok_or(RedisError::GivenUp)?;
        let mut used = None;
        let worked = watch.within(begun_ms, async {
            let connection = used.insert(self.connection().await?);
            work(connection).await
        });
        let worked = worked.await;
        let worked = worked.unwrap_or_else(|elapsed| Err(elapsed.into()));
        self.conclude(name, pass, used.as_ref(), worked.as_ref().err());
        worked
    }

    /// Draws the conclusions from a step, for those that follow.
    fn conclude(
        &self,
        step: &str,
        pass: Pass,
        used: Option<&Rc<Connection>>,
        error: Option<&RedisError>,
    ) {
        match error {
            None => self.is_there(),
            Some(error @ RedisError::Refused(refused)) => {
                self.is_there();
                self.note_refusal(step, refused, error);
            }
            // Told by the request that was opening the connection, or by those before it.
            Some(RedisError::NotOpened | RedisError::GivenUp) => {}
            Some(error @ (RedisError::Lost(_) | RedisError::Elapsed(_) | RedisError::Form)) => {
                // The first one that fails on a connection speaks for all who share it.
                if used.is_none_or(|used| self.give_up(used)) {
                    self.is_lost(step, pass, error);
                }
            }
        }
    }

    /// Says that stamps are not found although they have just been set: Redis forgets at once, or a proxy
    /// before several servers looks elsewhere for them than where the tidemark is. Nothing is cached then.
    pub(crate) fn note_lost_stamps(&self, lost: &str) {
        if !self.has_lost_stamps.replace(true) {
            let advice = "if redis_url leads to a proxy, give key_prefix a hash tag, as {tm}: has, or see docs/redis.md";
            log::error("redis-lost-stamps", &[("name", &lost), ("advice", &advice)]);
        }
    }

    fn is_there(&self) {
        if self.breaker.borrow_mut().succeeded() == Some(Transition::Closed) {
            log::info("redis-back", &[]);
        }
    }

    fn is_lost(&self, step: &str, pass: Pass, error: &RedisError) {
        let mut breaker = self.breaker.borrow_mut();
        let opened = breaker.failed(pass, ticks_ms()) == Some(Transition::Opened);
        // That it is still not there is no news.
        if opened || breaker.is_closed() {
            let event = if opened {
                "redis-given-up"
            } else {
                "redis-failed"
            };
            log::error(event, &[("step", &step), ("error", error)]);
        }
    }

    fn note_refusal(&self, step: &str, refused: &Error, error: &RedisError) {
        let code = refusal::code(refused).unwrap_or_default();
        if self.refusals.borrow_mut().insert(code.to_owned()) {
            log::error("redis-refused", &[("step", &step), ("error", error)]);
        }
    }

    async fn connection(&self) -> Result<Rc<Connection>, RedisError> {
        let opened = match &mut *self.link.borrow_mut() {
            Link::Open(connection) => return Ok(connection.clone()),
            Link::Opening(waiting) => {
                let (giver, opened) = handover();
                waiting.push(giver);
                Some(opened)
            }
            closed @ Link::Closed => {
                *closed = Link::Opening(Vec::new());
                None
            }
        };
        match opened {
            Some(opened) => opened.take().await.ok_or(RedisError::NotOpened),
            None => self.open().await,
        }
    }

    async fn open(&self) -> Result<Rc<Connection>, RedisError> {
        let opening = Opening(&self.link);
        let opened = Connection::open(&self.url).await;
        // Whoever is refused here has no connection, whatever the reason.
        let connection = Rc::new(opened.map_err(RedisError::Lost)?);
        opening.succeed(&connection);
        Ok(connection)
    }

    /// Forgets a connection, unless that has been done already; says whether it was this one.
    fn give_up(&self, used: &Rc<Connection>) -> bool {
        let mut link = self.link.borrow_mut();
        let is_current = matches!(&*link, Link::Open(current) if Rc::ptr_eq(current, used));
        if is_current {
            *link = Link::Closed;
        }
        is_current
    }
}

/// The duty to end the state [`Link::Opening`], whatever becomes of the request that has it.
struct Opening<'a>(&'a RefCell<Link>);

impl Opening<'_> {
    fn succeed(self, connection: &Rc<Connection>) {
        let opening = self.0.replace(Link::Open(connection.clone()));
        if let Link::Opening(waiting) = opening {
            for giver in waiting {
                giver.give(connection.clone());
            }
        }
    }
}

impl Drop for Opening<'_> {
    fn drop(&mut self) {
        let mut link = self.0.borrow_mut();
        if matches!(&*link, Link::Opening(_)) {
            // Whoever waits hears of it, because the givers go as well.
            let failed = mem::replace(&mut *link, Link::Closed);
            drop(link);
            drop(failed);
        }
    }
}

/// The SDK shows its errors as Rust writes them.
fn reason(error: &Error) -> &str {
    match error {
        Error::InvalidAddress => "the address is invalid or not allowed",
        Error::TooManyConnections => "too many connections",
        Error::TypeError => "a value of another type",
        Error::Other(reason) => reason,
    }
}

fn text(text: &str) -> RedisParameter {
    RedisParameter::Binary(text.as_bytes().to_vec())
}

fn number(count: usize) -> RedisParameter {
    RedisParameter::Int64(i64::try_from(count).unwrap_or(i64::MAX))
}

fn millis(life: Duration) -> RedisParameter {
    RedisParameter::Int64(i64::try_from(life.as_millis()).unwrap_or(i64::MAX))
}

/// A reply that has a value for each of the names.
fn values_of(names: &[String], reply: Vec<RedisResult>) -> Result<Vec<Option<Bytes>>, RedisError> {
    if reply.len() != names.len() {
        return Err(RedisError::Form);
    }
    reply.into_iter().map(value).collect()
}

fn value(result: RedisResult) -> Result<Option<Bytes>, RedisError> {
    match result {
        RedisResult::Nil => Ok(None),
        RedisResult::Binary(bytes) => Ok(Some(bytes.into())),
        RedisResult::Status(_) | RedisResult::Int64(_) => Err(RedisError::Form),
    }
}
