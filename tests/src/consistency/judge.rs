//! The judge: decides about every answer whether it kept the promises. See the [module](super).

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fmt,
};

use serde_json::Value;

use super::{
    history::{History, certain_place, moments_of},
    log::{Command, HOME, Log, Outcome, Read, region_name},
    moments::{BEGINNING, Moments},
    workload::{Belonging, Object, Part, Question, Table},
};

/// What `Tidemark-As-Of` loses by being in ms, and the edge's clock with it: µs.
const ROUNDING: i64 = 1_000;

/// How many violations are told in words.
const TOLD: usize = 10;

/// A promise.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Promise {
    /// I1: an answer reflects everything visible at its `Tidemark-As-Of`.
    AsOf,
    /// I2: no hit is proven by more than `max_staleness` ago.
    MaxStaleness,
    /// I3: a command that was answered `applied`, and whatever `Tidemark-At-Least` names, is seen.
    OwnWrites,
    /// I1 and I2 together, whatever any header says: everything visible at the request's start
    /// less `max_staleness` is reflected.
    Bound,
    /// I6: what is answered was once true: whole, committed, and of this question.
    Truth,
}

impl Promise {
    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::AsOf => "I1 as-of",
            Self::MaxStaleness => "I2 max-staleness",
            Self::OwnWrites => "I3 own-writes",
            Self::Bound => "I1+I2 bound",
            Self::Truth => "I6 truth",
        }
    }
}

/// A row that an answer shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Item {
    /// The row.
    pub object: Object,
    /// Its version.
    pub version: i64,
    /// The tag of the transaction that wrote it.
    pub tag: i64,
    /// Where it is.
    pub place: i64,
}

/// What a region had of the reads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Share {
    /// How many reads were judged.
    pub reads: u64,
    /// How many of them were hits.
    pub hits: u64,
}

/// What came of judging.
#[derive(Debug, Default)]
pub struct Judgement {
    /// How many reads were judged, by what the edge did.
    pub reads: BTreeMap<Outcome, u64>,
    /// The same by region.
    pub regions: BTreeMap<u8, Share>,
    /// How many of them were 304s.
    pub revalidated: u64,
    /// How many distinct answers they had.
    pub answers: usize,
    /// How many answers broke each promise.
    pub broken: BTreeMap<Promise, u64>,
    /// The first few of those in words.
    pub told: Vec<String>,
}

impl Judgement {
    /// How many reads were judged.
    pub fn judged(&self) -> u64 {
        self.reads.values().sum()
    }

    /// How often a promise was broken.
    pub fn violations(&self) -> u64 {
        self.broken.values().sum()
    }

    /// Takes down that a promise was broken.
    fn find(&mut self, promise: Promise, tell: impl FnOnce() -> String) {
        *self.broken.entry(promise).or_default() += 1;
        if self.told.len() < TOLD {
            self.told.push(tell());
        }
    }

    /// How many of the reads were hits.
    pub fn hits(&self) -> u64 {
        let hits = self.reads.iter().filter(|(outcome, _)| outcome.is_hit());
        hits.map(|(_, reads)| reads).sum()
    }
}

/// The judge of one history.
#[derive(Debug)]
pub struct Judge<'a> {
    history: &'a History,
    questions: &'a [Question],
    log: &'a Log,
    /// For each command answered `applied`: when it was, and until when the history of that moment
    /// is to be seen ever after. Both ascend.
    applied: Vec<(i64, i64)>,
}

/// An answer, read once for all reads that got it.
#[derive(Debug)]
struct Known {
    parts: Vec<Part>,
    items: Result<Vec<Item>, String>,
    /// When all of it can have been true.
    moments: Moments,
}

impl<'a> Judge<'a> {
    /// A judge who knows what happened and what was answered.
    pub fn new(history: &'a History, questions: &'a [Question], log: &'a Log) -> Self {
        let mut applied: Vec<_> = log
            .commands
            .iter()
            .filter(|command| command.applied)
            .filter_map(|command| Some((command.answered, history.transaction(command.tag)?.at)))
            .collect();
        applied.sort_unstable();
        let mut latest = BEGINNING;
        for (_, visible) in &mut applied {
            latest = latest.max(*visible);
            *visible = latest;
        }
        Self {
            history,
            questions,
            log,
            applied,
        }
    }

    /// Judges everything.
    pub fn judge(&self) -> Judgement {
        let log = self.log;
        let mut judgement = Judgement {
            answers: log.answers.len(),
            ..Judgement::default()
        };
        for command in &log.commands {
            self.judge_command(command, &mut judgement);
        }
        let known: Vec<Known> = log
            .answers
            .iter()
            .map(|(question, body)| {
                self.know(self.questions[usize::from(*question)], body.as_deref())
            })
            .collect();
        for read in &log.reads {
            *judgement.reads.entry(read.outcome).or_default() += 1;
            let share = judgement.regions.entry(read.region).or_default();
            share.reads += 1;
            share.hits += u64::from(read.outcome.is_hit());
            judgement.revalidated += u64::from(read.revalidated);
            let question = self.questions[usize::from(read.question)];
            let answer = usize::try_from(read.answer).unwrap_or(usize::MAX);
            let Some(known) = known.get(answer) else {
                continue;
            };
            for (promise, bound) in self.broken(question, read, known) {
                judgement.find(promise, || self.tell(promise, bound, question, read, known));
            }
        }
        judgement
    }

    /// What a command's client is to send back must not be from before its commit.
    fn judge_command(&self, command: &Command, judgement: &mut Judgement) {
        let Some(visible) = self.history.transaction(command.tag) else {
            let told = format!(
                "a command was answered as done, but its transaction {} was not committed",
                command.tag
            );
            judgement.find(Promise::Truth, || told);
            return;
        };
        if let Some(at_least) = command.at_least
            && at_least * 1_000 <= visible.not_at
        {
            judgement.find(Promise::OwnWrites, || {
                format!(
                    "{}: Tidemark-At-Least {at_least} is from before the commit of transaction {}, which was not visible at {} µs",
                    Promise::OwnWrites.name(), command.tag, visible.not_at
                )
            });
        }
    }

    /// The promises that an answer breaks, and the moment from which on it had to be true.
    fn broken(&self, question: Question, read: &Read, known: &Known) -> Vec<(Promise, i64)> {
        let mut broken = Vec::new();
        if !known.moments.any_within(BEGINNING, read.end) {
            return vec![(Promise::Truth, BEGINNING)];
        }
        let beyond = match read.outcome {
            Outcome::StaleIfError => question.stale_if_error_us(),
            _ => 0,
        };
        let bound = read.start - question.max_staleness_us() - beyond;
        let mut demand = |promise, from: i64| {
            // A moment in ms that is rounded up may be a little ahead.
            if !known.moments.any_within(from.min(read.end), read.end) {
                broken.push((promise, from));
            }
        };
        demand(Promise::Bound, bound);
        if let Some(as_of) = read.as_of {
            demand(Promise::AsOf, as_of * 1_000);
        }
        // What an instance has looked up before the command, it may still serve.
        let looked_up = match question.l1_us() {
            0 => read.start,
            l1 => read.start - l1 - ROUNDING,
        };
        let applied = self
            .applied
            .partition_point(|&(answered, _)| answered <= looked_up);
        let applied = applied
            .checked_sub(1)
            .filter(|_| read.region == HOME && read.outcome.shows_own_writes())
            .map(|last| self.applied[last].1);
        let at_least = read
            .at_least
            .map(|at_least| (at_least * 1_000).min(read.start));
        if let Some(own) = applied.max(at_least) {
            demand(Promise::OwnWrites, own);
        }

        if let Some(as_of) = read.as_of {
            if as_of * 1_000 > read.end + ROUNDING {
                broken.push((Promise::AsOf, as_of * 1_000));
            }
            if read.outcome.is_of_the_cache() && as_of * 1_000 + ROUNDING < bound {
                broken.push((Promise::MaxStaleness, bound));
            }
        } else if read.outcome.is_of_the_cache() {
            broken.push((Promise::AsOf, bound));
        }
        broken
    }

    fn know(&self, question: Question, body: Option<&[u8]>) -> Known {
        let parts = question.parts();
        let items = match body {
            Some(body) => read_items(body, &parts),
            None => Ok(Vec::new()),
        };
        let moments = match &items {
            Ok(items) => self.moments(&parts, items),
            Err(_) => Moments::never(),
        };
        Known {
            parts,
            items,
            moments,
        }
    }

    /// When everything that an answer says can have been true at once.
    fn moments(&self, parts: &[Part], items: &[Item]) -> Moments {
        let mut moments = Moments::always();
        let at_least = self.at_least(items);
        for item in items {
            match self.shown(parts, items, item) {
                Ok(_) if self.is_torn(&at_least, item) => return Moments::never(),
                Ok(shown) => moments = moments.and(&shown),
                Err(_) => return Moments::never(),
            }
        }
        for part in parts {
            let Some(span) = moments.span() else {
                return moments;
            };
            for (object, row) in self.history.rows(part.table) {
                if part.rows.include(object.id) && find(items, object).is_none() {
                    let least = at_least.get(&object).copied();
                    let certain = certain_place(row, least, span);
                    if certain.is_some_and(|place| !belongs(part, items, place)) {
                        continue;
                    }
                    let absent = moments_of(row, least, span, |place| !belongs(part, items, place));
                    moments = moments.and(&absent);
                }
            }
        }
        moments
    }

    /// An answer that shows one change of a transaction shows all of them, or what came after.
    fn at_least(&self, items: &[Item]) -> HashMap<Object, usize> {
        let shown: BTreeSet<i64> = items.iter().map(|item| item.tag).collect();
        self.history.at_least(&shown)
    }

    fn is_torn(&self, at_least: &HashMap<Object, usize>, item: &Item) -> bool {
        let least = at_least.get(&item.object).copied();
        self.history.place(item.version) < least
    }

    /// When an item can have been what its row was; or why it never can.
    fn shown(&self, parts: &[Part], items: &[Item], item: &Item) -> Result<Moments, String> {
        let Item {
            object,
            version,
            tag,
            place,
        } = *item;
        let name = name_of(object);
        let Some(part) = parts.iter().find(|part| part.table == object.table) else {
            return Err(format!("{name} has nothing to do with the question"));
        };
        if !part.rows.include(object.id) || !belongs(part, items, Some(place)) {
            return Err(format!("{name} does not belong here"));
        }
        let Some((found, successor)) = self.history.version(version) else {
            let why = match self.history.transaction(tag) {
                None => "was not committed",
                Some(_) => "wrote over it itself",
            };
            return Err(format!(
                "{name} is shown at version {version}, but its transaction {tag} {why}"
            ));
        };
        if (found.change.object, found.change.tag, found.change.place) != (object, tag, Some(place))
        {
            return Err(format!("{name} is shown as {item:?}, but was {found:?}"));
        }
        Ok(Moments::union([found.current(successor)]))
    }

    /// A violation in words.
    fn tell(
        &self,
        promise: Promise,
        bound: i64,
        question: Question,
        read: &Read,
        known: &Known,
    ) -> String {
        let why = match &known.items {
            Err(why) => why.clone(),
            Ok(items) => self.blame(known, items, bound.min(read.end), read.end),
        };
        let age = |moment: i64| Milliseconds(moment - read.start);
        let as_of = read
            .as_of
            .map_or_else(|| "none".to_owned(), |as_of| age(as_of * 1_000).to_string());
        let applied = match promise {
            Promise::Truth => String::new(),
            _ => format!("; it had to be true at {} or later", age(bound)),
        };
        let last = known.moments.last_until(read.end).map_or_else(
            || "it never was".to_owned(),
            |until| format!("it last was before {}", age(until)),
        );
        format!(
            "{}: {} ({}{}, {} region), asked at {}, answered {} later, as of {as_of}{applied}; {last}\n      {why}",
            promise.name(),
            question.path(),
            read.outcome.name(),
            if read.revalidated { ", 304" } else { "" },
            region_name(read.region),
            read.start,
            age(read.end),
        )
    }

    /// Which row shows that an answer was not true between two moments.
    fn blame(&self, known: &Known, items: &[Item], from: i64, to: i64) -> String {
        let off = |moment: i64| Milliseconds(moment - to);
        let at_least = self.at_least(items);
        for item in items {
            let name = name_of(item.object);
            let shown = match self.shown(&known.parts, items, item) {
                Err(why) => return why,
                Ok(shown) => shown,
            };
            if self.is_torn(&at_least, item) {
                return format!(
                    "{name} is shown without the change of a transaction of which another change is shown"
                );
            }
            if shown.any_within(from, to) {
                continue;
            }
            let Some((version, successor)) = self.history.version(item.version) else {
                continue;
            };
            return match successor {
                Some(next) if next.visible.at <= from => format!(
                    "{name} is shown at version {} of transaction {}, but version {} of transaction {} was visible {} before the answer at the latest",
                    item.version,
                    item.tag,
                    next.change.version,
                    next.change.tag,
                    off(next.visible.at),
                ),
                _ => format!(
                    "{name} is shown at version {} of transaction {}, which became visible {} after the answer at the earliest",
                    item.version,
                    item.tag,
                    off(version.visible.not_at),
                ),
            };
        }
        for part in &known.parts {
            for (object, row) in self.history.rows(part.table) {
                if !part.rows.include(object.id) || find(items, object).is_some() {
                    continue;
                }
                let least = at_least.get(&object).copied();
                let absent =
                    moments_of(row, least, (from, to), |place| !belongs(part, items, place));
                if !absent.any_within(from, to) {
                    let here = row
                        .iter()
                        .rev()
                        .find(|version| version.visible.at <= to)
                        .map_or_else(String::new, |version| {
                            format!(
                                ": version {} of transaction {} was visible {} before the answer at the latest",
                                version.change.version,
                                version.change.tag,
                                off(version.visible.at)
                            )
                        });
                    return format!("{} is missing{here}", name_of(object));
                }
            }
        }
        "no single row is to blame: there was no moment at which all of this was true".to_owned()
    }
}

/// Whether a row in this place (nowhere if it does not exist) is part of an answer.
fn belongs(part: &Part, items: &[Item], place: Option<i64>) -> bool {
    match (place, part.belonging) {
        (None, _) => false,
        (Some(_), Belonging::Anywhere) => true,
        (Some(place), Belonging::In(here)) => place == here,
        (Some(place), Belonging::Under(table)) => {
            let above = Object { table, id: place };
            find(items, above).is_some()
        }
    }
}

/// Reads an answer: for each table the rows as `[id, version, tag, place]`.
fn read_items(body: &[u8], parts: &[Part]) -> Result<Vec<Item>, String> {
    let shown = |text: &[u8]| String::from_utf8_lossy(text).into_owned();
    let json: Value =
        serde_json::from_slice(body).map_err(|error| format!("{error}: {}", shown(body)))?;
    let mut items = Vec::new();
    for part in parts {
        let rows = json[part.table.name()].as_array();
        let rows = rows.ok_or_else(|| format!("no {}: {}", part.table.name(), shown(body)))?;
        for row in rows {
            let number = |place: usize| row[place].as_i64();
            let item = (|| {
                Some(Item {
                    object: Object {
                        table: part.table,
                        id: number(0)?,
                    },
                    version: number(1)?,
                    tag: number(2)?,
                    place: number(3)?,
                })
            })();
            items.push(item.ok_or_else(|| format!("no row: {row}"))?);
        }
    }
    items.sort_unstable_by_key(|item| item.object);
    match items.windows(2).find(|two| two[0].object == two[1].object) {
        Some(two) => Err(format!("{} is there twice", name_of(two[0].object))),
        None => Ok(items),
    }
}

/// The row among those that an answer shows, which are in order.
fn find(items: &[Item], object: Object) -> Option<&Item> {
    let place = items.binary_search_by_key(&object, |item| item.object);
    items.get(place.ok()?)
}

fn name_of(object: Object) -> String {
    let table = match object.table {
        Table::Registers => "register",
        Table::Parents => "parent",
        Table::Children => "child",
        Table::Notices => "notice",
    };
    format!("{table} {}", object.id)
}

/// µs, shown as ms.
struct Milliseconds(i64);

impl fmt::Display for Milliseconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.0 < 0 { "-" } else { "+" };
        let us = self.0.unsigned_abs();
        write!(f, "{sign}{}.{:03} ms", us / 1_000, us % 1_000)
    }
}
