//! What writers do: transactions of every kind that PostgreSQL offers, drawn by chance.

use std::time::Duration;

use super::{
    random::Chance,
    workload::{CHILDREN, GROUPS, NOTICES, PARENTS, REGISTERS},
};

/// A transaction to be run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// How it begins: `BEGIN …`.
    pub begin: &'static str,
    /// What it does.
    pub steps: Vec<Step>,
    /// How it ends: `COMMIT` or `ROLLBACK`.
    pub end: &'static str,
}

/// One step of a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Runs SQL.
    Sql(String),
    /// Stays open meanwhile.
    Pause(Duration),
}

/// `TRUNCATE` waits for everybody, and everybody for it: not for long.
const IMPATIENT: &str = "SET LOCAL lock_timeout = '200ms'";

/// One transaction.
pub fn draw(chance: &mut Chance) -> Plan {
    let mut plan = Plan {
        begin: "BEGIN",
        steps: Vec::new(),
        end: "COMMIT",
    };
    let sql = |text: &str| Step::Sql(text.to_owned());
    match chance.below(100) {
        // One statement.
        0..40 => plan.steps.push(Step::Sql(simple(chance))),
        // Several tables at once.
        40..52 => {
            for _ in 0..3 {
                plan.steps.push(Step::Sql(simple(chance)));
            }
        }
        // Rolled back, whole or in part.
        52..60 => {
            plan.steps.push(Step::Sql(simple(chance)));
            plan.steps.push(Step::Sql(simple(chance)));
            plan.end = "ROLLBACK";
        }
        60..66 => {
            plan.steps.push(Step::Sql(simple(chance)));
            plan.steps.push(sql("SAVEPOINT half"));
            plan.steps.push(Step::Sql(simple(chance)));
            plan.steps.push(sql("ROLLBACK TO half"));
            plan.steps.push(Step::Sql(simple(chance)));
        }
        // Open for long, while others commit.
        66..72 => {
            for _ in 0..2 {
                plan.steps.push(Step::Sql(simple(chance)));
                let long = Duration::from_millis(chance.between(20, 600));
                plan.steps.push(Step::Pause(long));
            }
        }
        // From an older snapshot.
        72..79 => {
            plan.begin = "BEGIN ISOLATION LEVEL REPEATABLE READ";
            for _ in 0..2 {
                plan.steps.push(Step::Sql(simple(chance)));
                let short = Duration::from_millis(chance.between(0, 20));
                plan.steps.push(Step::Pause(short));
            }
            // Its parent may have moved since.
            plan.steps.push(Step::Sql(change_of_child(chance)));
        }
        79..90 => {
            plan.steps.push(Step::Sql(change_of_child(chance)));
            if chance.percent(30) {
                let pause = Duration::from_millis(chance.between(5, 200));
                plan.steps.push(Step::Pause(pause));
                plan.steps.push(Step::Sql(change_of_child(chance)));
            }
        }
        90..98 => {
            plan.steps.push(Step::Sql(change_of_parent(chance)));
            if chance.percent(40) {
                let pause = Duration::from_millis(chance.between(5, 200));
                plan.steps.push(Step::Pause(pause));
            }
        }
        98 => {
            plan.steps.push(sql(IMPATIENT));
            plan.steps.push(sql("TRUNCATE notices"));
            let some = chance.one_of(NOTICES);
            plan.steps.push(Step::Sql(format!(
                "INSERT INTO notices SELECT n FROM generate_series(1, {some}) AS n"
            )));
        }
        _ => {
            plan.steps.push(sql(IMPATIENT));
            plan.steps.push(sql("TRUNCATE children"));
            plan.steps.push(Step::Sql(format!(
                "INSERT INTO children SELECT n, p.id FROM generate_series(1, {CHILDREN}) AS n
                 JOIN parents p ON p.id = n % {PARENTS} + 1"
            )));
        }
    }
    plan
}

/// A statement on registers or notices, or one that only touches parents.
fn simple(chance: &mut Chance) -> String {
    let (id, other) = (chance.one_of(REGISTERS), chance.one_of(REGISTERS));
    let group = chance.one_of(GROUPS);
    let notice = chance.one_of(NOTICES);
    match chance.below(24) {
        0..5 => format!("UPDATE registers SET grp = grp WHERE id = {id}"),
        5..8 => format!("UPDATE registers SET grp = {group} WHERE id = {id}"),
        8 | 9 => format!("UPDATE registers SET grp = grp WHERE id IN ({id}, {other}, 7, 8)"),
        10 => format!("UPDATE registers SET grp = grp WHERE grp = {group}"),
        11 | 12 => format!("DELETE FROM registers WHERE id = {id}"),
        13..16 => format!(
            "INSERT INTO registers (id, grp) VALUES ({id}, {group})
             ON CONFLICT (id) DO UPDATE SET grp = excluded.grp"
        ),
        16 | 17 => format!(
            "MERGE INTO registers AS old USING (VALUES ({id}, {group}), ({other}, 1)) AS new (id, grp)
             ON old.id = new.id
             WHEN MATCHED AND old.grp = new.grp THEN DELETE
             WHEN MATCHED THEN UPDATE SET grp = new.grp
             WHEN NOT MATCHED THEN INSERT (id, grp) VALUES (new.id, new.grp)"
        ),
        18 => format!(
            "INSERT INTO notices (id) VALUES ({notice}) ON CONFLICT (id) DO UPDATE SET id = excluded.id"
        ),
        19 => format!("DELETE FROM notices WHERE id = {notice}"),
        20 => format!("UPDATE notices SET id = id WHERE id >= {notice}"),
        _ => {
            let parent = chance.one_of(PARENTS);
            format!("UPDATE parents SET grp = grp WHERE id = {parent}")
        }
    }
}

fn change_of_child(chance: &mut Chance) -> String {
    let (id, other) = (chance.one_of(CHILDREN), chance.one_of(CHILDREN));
    let parent = chance.one_of(PARENTS);
    match chance.below(6) {
        0 | 1 => format!("UPDATE children SET parent_id = parent_id WHERE id IN ({id}, {other})"),
        2 => format!(
            "UPDATE children SET parent_id = {parent} WHERE id = {id}
             AND EXISTS (SELECT FROM parents WHERE id = {parent})"
        ),
        3 => format!("DELETE FROM children WHERE id = {id}"),
        _ => format!(
            "INSERT INTO children (id, parent_id) SELECT {id}, id FROM parents WHERE id = {parent}
             ON CONFLICT (id) DO UPDATE SET parent_id = excluded.parent_id"
        ),
    }
}

fn change_of_parent(chance: &mut Chance) -> String {
    let (id, group) = (chance.one_of(PARENTS), chance.one_of(GROUPS));
    match chance.below(8) {
        0 => format!("DELETE FROM parents WHERE id = {id}"),
        1 | 2 => format!(
            "INSERT INTO parents (id, grp) VALUES ({id}, {group})
             ON CONFLICT (id) DO UPDATE SET grp = excluded.grp"
        ),
        _ => format!("UPDATE parents SET grp = {group} WHERE id = {id}"),
    }
}
