//! The judge on histories made by hand: each promise broken once, and just not broken.

use std::collections::HashMap;

use bytes::Bytes;
use tidemark_tests::consistency::{
    history::{Change, History, Visible},
    judge::{Judge, Judgement, Promise},
    log::{Command, HOME, Log, Outcome, Read, Reason},
    moments::Moments,
    observer::{Look, Sightings, Transaction},
    workload::{Object, Question, Table},
};

const MS: i64 = 1_000;
const SECOND: i64 = 1_000_000;

/// Long after the beginning, so that a second before is a moment as well.
const NOON: i64 = 1_000 * SECOND;

const GROUP: Question = Question::Registers {
    group: 3,
    half: None,
    view: "plain",
};

/// A history in the making: versions are numbered as they are written, from 1.
#[derive(Default)]
struct Past {
    changes: Vec<Change>,
    transactions: HashMap<i64, Visible>,
}

impl Past {
    /// A transaction that became visible between two moments.
    fn committed(&mut self, tag: i64, not_at: i64, at: i64) -> &mut Self {
        self.transactions.insert(tag, Visible { not_at, at });
        self
    }

    fn put(&mut self, tag: i64, table: Table, id: i64, place: Option<i64>) -> &mut Self {
        self.changes.push(Change {
            tag,
            object: Object { table, id },
            version: i64::try_from(self.changes.len()).unwrap() + 1,
            place,
        });
        self
    }

    fn history(&self) -> History {
        History::new(self.changes.iter().copied(), self.transactions.clone())
    }
}

/// Register 1 lies in group 3; transaction 7 touches it, seen a little after noon.
fn touched() -> Past {
    let mut past = Past::default();
    past.committed(1, 0, MS)
        .put(1, Table::Registers, 1, Some(3))
        .committed(7, NOON - MS, NOON)
        .put(7, Table::Registers, 1, Some(3));
    past
}

const OLD: &str = r#"{"registers": [[1, 1, 1, 3]]}"#;
const NEW: &str = r#"{"registers": [[1, 2, 7, 3]]}"#;
const EMPTY: &str = r#"{"registers": []}"#;

/// A hit that was proven at its start and took a ms.
fn hit_at(start: i64) -> Read {
    Read {
        start,
        end: start + MS,
        as_of: Some(start / MS),
        at_least: None,
        region: HOME,
        question: 0,
        answer: 0,
        outcome: Outcome::Hit,
        revalidated: false,
    }
}

fn judge(past: &Past, question: Question, body: Option<&str>, read: Read) -> Judgement {
    judge_with(past, question, body, read, &[])
}

fn judge_with(
    past: &Past,
    question: Question,
    body: Option<&str>,
    read: Read,
    commands: &[Command],
) -> Judgement {
    let history = past.history();
    let body = body.map(|body| Bytes::copy_from_slice(body.as_bytes()));
    let mut log = Log::default();
    log.answer(0, &Bytes::from_static(b"\"tag\""), body);
    log.reads.push(read);
    log.commands.extend_from_slice(commands);
    Judge::new(&history, &[question], &log).judge()
}

#[track_caller]
fn assert_broken(judgement: &Judgement, promises: &[Promise]) {
    let broken: Vec<_> = judgement.broken.keys().copied().collect();
    assert_eq!(broken, promises, "{:?}", judgement.told);
}

#[test]
fn i1_an_answer_reflects_what_was_visible_at_its_as_of() {
    for (as_of, broken) in [
        (NOON - MS, &[][..]),
        (NOON, &[Promise::AsOf]),
        (NOON + MS, &[Promise::AsOf]),
    ] {
        let read = Read {
            as_of: Some(as_of / MS),
            ..hit_at(NOON + 10 * MS)
        };
        assert_broken(&judge(&touched(), GROUP, Some(OLD), read), broken);
        assert_broken(&judge(&touched(), GROUP, Some(NEW), read), &[]);
    }
}

#[test]
fn i1_a_miss_keeps_its_as_of_too() {
    let read = Read {
        outcome: Outcome::Forwarded(Reason::Changed),
        ..hit_at(NOON + MS)
    };
    assert_broken(&judge(&touched(), GROUP, Some(OLD), read), &[Promise::AsOf]);
}

#[test]
fn i1_no_answer_is_proven_in_the_future_nor_a_hit_by_nothing() {
    let read = hit_at(NOON + 10 * MS);
    let future = Read {
        as_of: Some((read.end + 2 * MS) / MS),
        ..read
    };
    assert_broken(
        &judge(&touched(), GROUP, Some(NEW), future),
        &[Promise::AsOf],
    );
    let unproven = Read {
        as_of: None,
        ..read
    };
    assert_broken(
        &judge(&touched(), GROUP, Some(NEW), unproven),
        &[Promise::AsOf],
    );
}

#[test]
fn i2_no_hit_is_proven_longer_ago_than_the_promise() {
    let start = NOON + 5 * SECOND;
    for (ago, broken) in [
        (SECOND, &[][..]),
        // The edge's clock is rounded to ms.
        (SECOND + MS, &[]),
        (SECOND + 2 * MS, &[Promise::MaxStaleness]),
    ] {
        let read = Read {
            as_of: Some((start - ago) / MS),
            ..hit_at(start)
        };
        assert_broken(&judge(&touched(), GROUP, Some(NEW), read), broken);
    }
}

#[test]
fn whatever_the_headers_say_answers_lag_at_most_so_far_behind() {
    let lie = |start| Read {
        as_of: None,
        outcome: Outcome::Forwarded(Reason::Miss),
        ..hit_at(start)
    };
    let late = NOON + SECOND;
    assert_broken(&judge(&touched(), GROUP, Some(OLD), lie(late - 1)), &[]);
    assert_broken(
        &judge(&touched(), GROUP, Some(OLD), lie(late)),
        &[Promise::Bound],
    );
    // This one may not lag behind at all.
    let exact = Question::Exact(3);
    assert_broken(&judge(&touched(), exact, Some(OLD), lie(NOON - 1)), &[]);
    assert_broken(
        &judge(&touched(), exact, Some(OLD), lie(NOON)),
        &[Promise::Bound],
    );
}

#[test]
fn i3_a_command_that_is_applied_is_seen_from_then_on() {
    let answered = NOON + 20 * MS;
    let command = Command {
        tag: 7,
        answered,
        at_least: None,
        applied: true,
    };
    let read = |start| Read {
        as_of: Some((NOON - 2 * MS) / MS),
        ..hit_at(start)
    };
    let judge = |body, read, command| judge_with(&touched(), GROUP, Some(body), read, &[command]);
    assert_broken(&judge(OLD, read(answered - 1), command), &[]);
    assert_broken(&judge(OLD, read(answered), command), &[Promise::OwnWrites]);
    assert_broken(&judge(NEW, read(answered), command), &[]);
    let pending = Command {
        applied: false,
        ..command
    };
    assert_broken(&judge(OLD, read(answered), pending), &[]);
    // Another region may not have heard of it yet.
    let elsewhere = Read {
        region: HOME + 1,
        ..read(answered)
    };
    assert_broken(&judge(OLD, elsewhere, command), &[]);
}

#[test]
fn i3_what_an_instance_holds_may_hide_a_command_for_as_long_as_l1() {
    const OVERVIEW: &str =
        r#"{"registers": [[1, 1, 1, 3]], "parents": [], "children": [], "notices": []}"#;
    let question = Question::Overview(3);
    let answered = NOON + 20 * MS;
    let command = Command {
        tag: 7,
        answered,
        at_least: None,
        applied: true,
    };
    let judge = |start, at_least| {
        let read = Read {
            as_of: Some((NOON - 2 * MS) / MS),
            at_least,
            outcome: Outcome::L1,
            ..hit_at(start)
        };
        judge_with(&touched(), question, Some(OVERVIEW), read, &[command])
    };
    let forgotten = answered + question.l1_us() + MS;
    assert_broken(&judge(forgotten - 1, None), &[]);
    assert_broken(&judge(forgotten, None), &[Promise::OwnWrites]);
    // Not from whoever insists.
    let at_least = Some(NOON / MS);
    assert_broken(&judge(answered, at_least), &[Promise::OwnWrites]);
}

#[test]
fn what_is_served_while_it_is_loaded_anew_keeps_every_promise_but_own_writes_unasked() {
    let answered = NOON + 20 * MS;
    let command = Command {
        tag: 7,
        answered,
        at_least: None,
        applied: true,
    };
    let read = Read {
        as_of: Some((NOON - 2 * MS) / MS),
        outcome: Outcome::Revalidate,
        ..hit_at(answered)
    };
    let judge = |read| judge_with(&touched(), GROUP, Some(OLD), read, &[command]);
    assert_broken(&judge(read), &[]);
    let insisting = Read {
        at_least: Some(NOON / MS),
        ..read
    };
    assert_broken(&judge(insisting), &[Promise::OwnWrites]);
    let lying = Read {
        as_of: Some(NOON / MS + 1),
        ..read
    };
    assert_broken(&judge(lying), &[Promise::AsOf]);
    let start = NOON + 3 * SECOND;
    let late = Read {
        as_of: Some((start - SECOND) / MS - 2),
        ..Read {
            start,
            end: start + MS,
            ..read
        }
    };
    assert_broken(
        &judge_with(&touched(), GROUP, Some(NEW), late, &[]),
        &[Promise::MaxStaleness],
    );
}

#[test]
fn what_is_served_because_the_origin_fails_has_a_longer_bound() {
    let tree = Question::Tree(3);
    assert!(tree.stale_if_error_us() > 0);
    let bound = tree.max_staleness_us() + tree.stale_if_error_us();
    let body = r#"{"parents": [], "children": []}"#;
    let read = |ago| Read {
        as_of: Some((NOON - ago) / MS),
        outcome: Outcome::StaleIfError,
        ..hit_at(NOON)
    };
    let judge = |read| judge(&touched(), tree, Some(body), read);
    assert_broken(&judge(read(bound)), &[]);
    assert_broken(&judge(read(bound + 2 * MS)), &[Promise::MaxStaleness]);
    let fresh = Read {
        outcome: Outcome::Hit,
        ..read(bound)
    };
    assert_broken(&judge(fresh), &[Promise::MaxStaleness]);
}

#[test]
fn i3_at_least_is_kept() {
    let read = |at_least| Read {
        as_of: Some((NOON - 2 * MS) / MS),
        at_least: Some(at_least / MS),
        ..hit_at(NOON + 20 * MS)
    };
    assert_broken(&judge(&touched(), GROUP, Some(OLD), read(NOON - MS)), &[]);
    assert_broken(
        &judge(&touched(), GROUP, Some(OLD), read(NOON)),
        &[Promise::OwnWrites],
    );
    assert_broken(&judge(&touched(), GROUP, Some(NEW), read(NOON)), &[]);
}

#[test]
fn i3_at_least_is_not_before_the_commit() {
    let command = Command {
        tag: 7,
        answered: NOON + 20 * MS,
        at_least: Some((NOON - MS) / MS),
        applied: false,
    };
    let judgement = judge_with(
        &touched(),
        GROUP,
        Some(NEW),
        hit_at(NOON + 30 * MS),
        &[command],
    );
    assert_broken(&judgement, &[Promise::OwnWrites]);
}

#[test]
fn a_row_that_came_is_not_missing_and_one_that_left_is_not_there() {
    let mut past = Past::default();
    past.committed(1, 0, MS)
        .put(1, Table::Registers, 1, Some(3))
        .committed(7, NOON - MS, NOON)
        .put(7, Table::Registers, 1, Some(4))
        .committed(8, NOON + SECOND - MS, NOON + SECOND)
        .put(8, Table::Registers, 1, None);
    let elsewhere = Question::Registers {
        group: 4,
        half: None,
        view: "plain",
    };
    let there = r#"{"registers": [[1, 2, 7, 4]]}"#;
    for (start, question, body, broken) in [
        // In group 3 until noon.
        (NOON - 2 * MS, GROUP, OLD, false),
        (NOON + 2 * MS, GROUP, OLD, true),
        (NOON - 3 * MS, GROUP, EMPTY, true),
        (NOON - MS, GROUP, EMPTY, false),
        (NOON + 2 * MS, GROUP, EMPTY, false),
        // In group 4 for a second.
        (NOON + 2 * MS, elsewhere, EMPTY, true),
        (NOON + 2 * MS, elsewhere, there, false),
        (NOON + 2 * SECOND, elsewhere, there, true),
        (NOON + 2 * SECOND, elsewhere, EMPTY, false),
    ] {
        let judgement = judge(&past, question, Some(body), hit_at(start));
        assert_eq!(
            judgement.violations() > 0,
            broken,
            "{start} {question:?} {body}: {:?}",
            judgement.told
        );
    }
    // A 404 says that it is nowhere.
    let single = Question::Register(1);
    let gone = judge(&past, single, None, hit_at(NOON + 2 * SECOND));
    assert_broken(&gone, &[]);
    let hidden = judge(&past, single, None, hit_at(NOON + 2 * MS));
    assert_broken(&hidden, &[Promise::AsOf, Promise::Bound]);
}

#[test]
fn a_child_is_where_its_parent_is() {
    let mut past = Past::default();
    past.committed(1, 0, MS)
        .put(1, Table::Parents, 5, Some(3))
        .put(1, Table::Children, 6, Some(5))
        .committed(7, NOON - MS, NOON)
        .put(7, Table::Parents, 5, Some(4));
    let (old, new) = (Question::Tree(3), Question::Tree(4));
    let none = r#"{"parents": [], "children": []}"#;
    let before = r#"{"parents": [[5, 1, 1, 3]], "children": [[6, 2, 1, 5]]}"#;
    let after = r#"{"parents": [[5, 3, 7, 4]], "children": [[6, 2, 1, 5]]}"#;
    let lonely = r#"{"parents": [[5, 3, 7, 4]], "children": []}"#;
    let late = hit_at(NOON + 2 * MS);
    assert_broken(&judge(&past, old, Some(none), late), &[]);
    assert_broken(&judge(&past, new, Some(after), late), &[]);
    assert_broken(&judge(&past, old, Some(before), late), &[Promise::AsOf]);
    assert_broken(&judge(&past, new, Some(lonely), late), &[Promise::Truth]);
    let orphan = r#"{"parents": [], "children": [[6, 2, 1, 5]]}"#;
    assert_broken(&judge(&past, new, Some(orphan), late), &[Promise::Truth]);
}

#[test]
fn i6_what_was_never_true_is_never_answered() {
    let mut past = touched();
    // One transaction that touches both, one after the other.
    past.put(7, Table::Registers, 2, Some(3))
        .committed(9, NOON + SECOND, NOON + SECOND + MS)
        .put(9, Table::Registers, 2, Some(3))
        .put(9, Table::Registers, 2, Some(3));
    let late = hit_at(NOON + 10 * SECOND);
    let soon = hit_at(NOON + 2 * MS);
    for (read, body, why) in [
        (late, "nonsense", "expected ident"),
        (late, "{}", "no registers"),
        (late, r#"{"registers": [[1, 2]]}"#, "no row"),
        (
            late,
            r#"{"registers": [[1, 2, 7, 3], [1, 2, 7, 3]]}"#,
            "there twice",
        ),
        // Of another group.
        (
            late,
            r#"{"registers": [[1, 2, 7, 4]]}"#,
            "does not belong here",
        ),
        // With another one's version.
        (late, r#"{"registers": [[1, 3, 7, 3]]}"#, "but was"),
        // Rolled back.
        (
            late,
            r#"{"registers": [[1, 99, 98, 3]]}"#,
            "was not committed",
        ),
        // Between the statements of one transaction.
        (
            late,
            r#"{"registers": [[1, 2, 7, 3], [2, 4, 9, 3]]}"#,
            "wrote over it itself",
        ),
        // Torn: the first row after the transaction, the second one before it.
        (late, NEW, "register 2 is missing"),
        (
            late,
            r#"{"registers": [[1, 1, 1, 3], [2, 5, 9, 3]]}"#,
            "no single row is to blame",
        ),
        // Before it was committed.
        (
            soon,
            r#"{"registers": [[1, 2, 7, 3], [2, 5, 9, 3]]}"#,
            "became visible",
        ),
    ] {
        let judgement = judge(&past, GROUP, Some(body), read);
        assert_broken(&judgement, &[Promise::Truth]);
        assert!(judgement.told[0].contains(why), "{}", judgement.told[0]);
    }
}

#[test]
fn only_the_rows_in_question_matter() {
    let odd = Question::Registers {
        group: 3,
        half: Some(0),
        view: "plain",
    };
    let late = hit_at(NOON + SECOND);
    assert_broken(&judge(&touched(), odd, Some(EMPTY), late), &[]);
    assert_broken(&judge(&touched(), odd, Some(NEW), late), &[Promise::Truth]);
}

#[test]
fn a_304_names_a_body_that_somebody_has_had() {
    let mut log = Log::default();
    let (tag, other) = (Bytes::from_static(b"\"a\""), Bytes::from_static(b"\"b\""));
    let first = log.answer(0, &tag, Some(Bytes::from_static(b"{}")));
    assert_eq!(log.named(0, &tag), Some(first));
    assert_eq!(log.named(0, &other), None);
    assert_eq!(log.named(1, &tag), None);
    assert_eq!(log.answer(0, &tag, Some(Bytes::from_static(b"{}"))), first);
    assert!(log.oddities.is_empty());
    log.answer(0, &tag, Some(Bytes::from_static(b"[]")));
    assert_eq!(log.oddities.len(), 1);
}

fn look(life: i64, at: i64, next: i64, running: &[i64]) -> Look {
    Look {
        life,
        before: at,
        after: at + 2,
        next,
        running: running.iter().copied().collect(),
    }
}

#[test]
fn the_observer_brackets_each_commit() {
    let mut sightings = Sightings::default();
    sightings.add(look(1, 100, 11, &[10]));
    sightings.add(look(1, 110, 13, &[10, 12]));
    sightings.add(look(1, 120, 13, &[12]));
    let seen = |xid| sightings.visible(Transaction { life: 1, xid });
    let between = |not_at, at| Some(Visible { not_at, at });
    assert_eq!(seen(10), between(110, 122));
    assert_eq!(seen(11), between(100, 112));
    assert_eq!(seen(12), None);
    assert_eq!(seen(13), None);
    assert_eq!(seen(3), between(i64::MIN, 102));
}

#[test]
fn the_observer_tells_lives_of_the_server_apart() {
    let mut sightings = Sightings::default();
    sightings.add(look(1, 100, 11, &[10]));
    sightings.add(look(1, 110, 13, &[10]));
    // After a crash, 12 is given again, and 13 has ended before anybody looked.
    sightings.add(look(2, 200, 14, &[12]));
    sightings.add(look(2, 210, 14, &[]));
    let seen = |life, xid| sightings.visible(Transaction { life, xid });
    let between = |not_at, at| Some(Visible { not_at, at });
    assert_eq!(seen(1, 12), between(100, 112));
    assert_eq!(seen(2, 12), between(200, 212));
    assert_eq!(seen(2, 13), between(110, 202));
    // Committed in the old life, seen only in the new one.
    assert_eq!(seen(1, 10), between(110, 202));
}

#[test]
fn moments_are_sets() {
    let some = Moments::union([(1, 3), (3, 5), (8, 9), (9, 9)]);
    assert_eq!(some, Moments::union([(1, 5), (8, 9)]));
    assert_eq!(
        some.and(&Moments::union([(0, 2), (4, 20)])),
        Moments::union([(1, 2), (4, 5), (8, 9)])
    );
    assert!(some.and(&Moments::never()).is_never());
    assert_eq!(some.and(&Moments::always()), some);
    for (from, to, any) in [
        (0, 0, false),
        (0, 1, true),
        (4, 4, true),
        (5, 7, false),
        (5, 8, true),
        (9, 100, false),
        (4, 3, false),
    ] {
        assert_eq!(some.any_within(from, to), any, "{from}..{to}");
    }
    assert_eq!(some.last_until(7), Some(5));
    assert_eq!(some.span(), Some((1, 9)));
}
