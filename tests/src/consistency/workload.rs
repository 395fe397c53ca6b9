//! What the workload is about: four small tables, the catalog on them, and every question.
//!
//! Registers lie in groups; parents lie in groups and have children, so that a child is in the group
//! of its parent; notices lie nowhere. Each group has a month of its own, and every third is of the same
//! house: so it is a part of its house, which can be asked for by days and by its number. Every row's version and tag are set by triggers, and every
//! change is written down in `judge.history` in the same transaction.

use crate::stack::OwnCatalog;

/// How many groups there are.
pub const GROUPS: i64 = 12;
/// How many houses they are in.
const HOUSES: i64 = 3;
/// How many registers there can be.
pub const REGISTERS: i64 = 72;
/// How many parents there can be.
pub const PARENTS: i64 = 24;
/// How many children there can be.
pub const CHILDREN: i64 = 72;
/// How many notices there can be.
pub const NOTICES: i64 = 16;

/// The default promise of a query, in µs.
const ONE_SECOND: i64 = 1_000_000;

/// A table of the workload.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Table {
    /// Rows in groups.
    Registers,
    /// Rows in groups that have children.
    Parents,
    /// Rows that are where their parent is.
    Children,
    /// Rows that are nowhere.
    Notices,
}

impl Table {
    /// All of them.
    pub const ALL: [Self; 4] = [
        Self::Registers,
        Self::Parents,
        Self::Children,
        Self::Notices,
    ];

    /// Its name in PostgreSQL, and in answers.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Registers => "registers",
            Self::Parents => "parents",
            Self::Children => "children",
            Self::Notices => "notices",
        }
    }

    /// The table of this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|table| table.name() == name)
    }
}

/// A row, as long as anybody speaks of it, whether it is there or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Object {
    /// Its table.
    pub table: Table,
    /// Its primary key.
    pub id: i64,
}

/// What an answer shows of one table: these rows, if they belong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    /// The table.
    pub table: Table,
    /// Which rows come into question.
    pub rows: Rows,
    /// Which of those are shown.
    pub belonging: Belonging,
}

/// Rows by their ids.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rows {
    /// All.
    All,
    /// One.
    Only(i64),
    /// Those whose id leaves this remainder when divided by two.
    Half(i64),
}

impl Rows {
    /// Whether a row is one of them.
    pub fn include(self, id: i64) -> bool {
        match self {
            Self::All => true,
            Self::Only(only) => id == only,
            Self::Half(half) => id % 2 == half,
        }
    }
}

/// When a row that exists is part of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Belonging {
    /// Always.
    Anywhere,
    /// If it lies in this place.
    In(i64),
    /// If it lies under a row of that table which is in the same answer.
    Under(Table),
}

/// A read that somebody may ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Question {
    /// The registers of a group: all, or one half of them. The slow view takes a while after it has
    /// looked, so that there is time for changes before its answer is stored.
    Registers {
        /// The group.
        group: i64,
        /// The half, if any.
        half: Option<i64>,
        /// The view.
        view: &'static str,
    },
    /// One register; 404 where there is none.
    Register(i64),
    /// The parents of a group and their children; may be older while the origin fails.
    Tree(i64),
    /// The registers of a group, as a part of its house: by days that only it has, and by its number if
    /// it is to be named.
    Room {
        /// The group.
        group: i64,
        /// Whether its number is told as well.
        is_named: bool,
    },
    /// The parents of a group and their children, as a part of its house.
    Nest(i64),
    /// All notices.
    Notices,
    /// Registers and tree of a group, and all notices; may be older than the others, and is served while
    /// it is loaded anew.
    Overview(i64),
    /// The registers of a group as they are now.
    Exact(i64),
}

impl Question {
    /// Every question that readers ask, the ones that are wanted most first.
    pub fn all() -> Vec<Self> {
        let mut all = Vec::new();
        for group in 1..=GROUPS {
            for view in ["plain", "slow"] {
                for half in [None, Some(0), Some(1)] {
                    all.push(Self::Registers { group, half, view });
                }
            }
            all.extend([Self::Tree(group), Self::Overview(group), Self::Exact(group)]);
            all.extend([false, true].map(|is_named| Self::Room { group, is_named }));
            all.push(Self::Nest(group));
            if group <= 3 {
                all.push(Self::Notices);
            }
            let share = REGISTERS / GROUPS;
            all.extend(((group - 1) * share + 1..=group * share).map(Self::Register));
        }
        all
    }

    /// How to ask the edge.
    pub fn path(self) -> String {
        match self {
            Self::Registers { group, half, view } => {
                let half = half.map(|half| format!("&half={half}")).unwrap_or_default();
                format!("/group/{group}/registers?view={view}{half}")
            }
            Self::Register(id) => format!("/register/{id}"),
            Self::Tree(group) => format!("/group/{group}/tree"),
            Self::Room { group, is_named } => {
                let room = if is_named { group } else { 0 };
                let (house, month) = (group % HOUSES, format!("2025-{group:02}"));
                format!("/house/{house}/room?from={month}-10&to={month}-20&room={room}")
            }
            Self::Nest(group) => {
                let (house, day) = (group % HOUSES, format!("2025-{group:02}-15"));
                format!("/house/{house}/nest?day={day}")
            }
            Self::Notices => "/notices".to_owned(),
            Self::Overview(group) => format!("/group/{group}/overview"),
            Self::Exact(group) => format!("/group/{group}/exact"),
        }
    }

    /// How far an answer may lag behind, in µs.
    pub fn max_staleness_us(self) -> i64 {
        match self {
            Self::Overview(_) => 3 * ONE_SECOND,
            Self::Exact(_) => 0,
            _ => ONE_SECOND,
        }
    }

    /// For how long an instance may serve an answer again without looking into Redis, in µs.
    pub fn l1_us(self) -> i64 {
        match self {
            Self::Overview(_) => 300_000,
            Self::Notices => ONE_SECOND,
            _ => 0,
        }
    }

    /// How much farther, while the origin fails, in µs.
    pub fn stale_if_error_us(self) -> i64 {
        match self {
            Self::Tree(_) => 2 * ONE_SECOND,
            _ => 0,
        }
    }

    /// What an answer shows. A part that shows rows under others comes after those.
    pub fn parts(self) -> Vec<Part> {
        let part = |table, rows, belonging| Part {
            table,
            rows,
            belonging,
        };
        let registers = |group, rows| part(Table::Registers, rows, Belonging::In(group));
        let parents = |group| part(Table::Parents, Rows::All, Belonging::In(group));
        let children = part(Table::Children, Rows::All, Belonging::Under(Table::Parents));
        let notices = part(Table::Notices, Rows::All, Belonging::Anywhere);
        match self {
            Self::Registers { group, half, .. } => {
                vec![registers(group, half.map_or(Rows::All, Rows::Half))]
            }
            Self::Register(id) => {
                vec![part(Table::Registers, Rows::Only(id), Belonging::Anywhere)]
            }
            Self::Room { group, .. } => vec![registers(group, Rows::All)],
            Self::Tree(group) | Self::Nest(group) => vec![parents(group), children],
            Self::Notices => vec![notices],
            Self::Overview(group) => vec![
                registers(group, Rows::All),
                parents(group),
                children,
                notices,
            ],
            Self::Exact(group) => vec![registers(group, Rows::All)],
        }
    }
}

/// The catalog and its tables.
pub const CATALOG: OwnCatalog = OwnCatalog {
    schema: SCHEMA,
    toml: TOML,
    sql: &[
        (
            "registers.sql",
            "SELECT json_build_object('registers', coalesce(json_agg(json_build_array(id, version, tag, grp)), '[]'),
                'pause', (SELECT pg_sleep(CASE :view WHEN 'slow' THEN random() * 0.06 ELSE 0 END))::text)
             FROM registers WHERE grp = :group AND (:half::bigint IS NULL OR id % 2 = :half)",
        ),
        (
            "register.sql",
            "SELECT json_build_object('registers', json_build_array(json_build_array(id, version, tag, grp)))
             FROM registers WHERE id = :id",
        ),
        (
            "tree.sql",
            "SELECT json_build_object(
                'parents', (SELECT coalesce(json_agg(json_build_array(id, version, tag, grp)), '[]')
                            FROM parents WHERE grp = :group),
                'children', (SELECT coalesce(json_agg(json_build_array(c.id, c.version, c.tag, c.parent_id)), '[]')
                             FROM parents p JOIN children c ON c.parent_id = p.id WHERE p.grp = :group))",
        ),
        (
            "room.sql",
            "SELECT json_build_object('registers', coalesce(json_agg(json_build_array(id, version, tag, grp)), '[]'))
             FROM registers WHERE house = :house AND day BETWEEN :from AND :to AND (:room = 0 OR grp = :room)",
        ),
        (
            "nest.sql",
            "WITH here AS (SELECT * FROM parents WHERE house = :house AND day = :day)
             SELECT json_build_object(
                'parents', (SELECT coalesce(json_agg(json_build_array(id, version, tag, grp)), '[]') FROM here),
                'children', (SELECT coalesce(json_agg(json_build_array(c.id, c.version, c.tag, c.parent_id)), '[]')
                             FROM here p JOIN children c ON c.parent_id = p.id))",
        ),
        (
            "notices.sql",
            "SELECT json_build_object('notices', coalesce(json_agg(json_build_array(id, version, tag, 0)), '[]')) FROM notices",
        ),
        (
            "overview.sql",
            "SELECT json_build_object(
                'registers', (SELECT coalesce(json_agg(json_build_array(id, version, tag, grp)), '[]')
                              FROM registers WHERE grp = :group),
                'parents', (SELECT coalesce(json_agg(json_build_array(id, version, tag, grp)), '[]')
                            FROM parents WHERE grp = :group),
                'children', (SELECT coalesce(json_agg(json_build_array(c.id, c.version, c.tag, c.parent_id)), '[]')
                             FROM parents p JOIN children c ON c.parent_id = p.id WHERE p.grp = :group),
                'notices', (SELECT coalesce(json_agg(json_build_array(id, version, tag, 0)), '[]') FROM notices))",
        ),
        (
            "exact.sql",
            "SELECT json_build_object('registers', coalesce(json_agg(json_build_array(id, version, tag, grp)), '[]'))
             FROM registers WHERE grp = :group",
        ),
        (
            "touch_register.sql",
            "SELECT set_config('judge.tag', (:tag)::text, true);
             UPDATE registers SET grp = grp WHERE id = :id RETURNING id",
        ),
        (
            "move_register.sql",
            "SELECT set_config('judge.tag', (:tag)::text, true);
             UPDATE registers SET grp = :group WHERE id = :id RETURNING id",
        ),
        (
            "touch_child.sql",
            "SELECT set_config('judge.tag', (:tag)::text, true);
             UPDATE children SET parent_id = parent_id WHERE id = :id RETURNING id",
        ),
        (
            "put_notice.sql",
            "SELECT set_config('judge.tag', (:tag)::text, true);
             INSERT INTO notices (id) VALUES (:id) ON CONFLICT (id) DO UPDATE SET id = excluded.id RETURNING id",
        ),
    ],
};

/// The ttls are short, so that entries expire, and with them stamps that nobody renews.
const TOML: &str = r#"
    [query.registers]
    path   = "/group/{group}/registers"
    params = { group = "int", half = "int?", view = "enum(plain|slow)" }
    sql    = "registers.sql"
    shape  = "json"
    reads  = ["registers"]
    scope  = "group:{group}"
    ttl    = "6s"

    [query.registers.acknowledge]
    "pg_sleep(double precision)" = "how long it takes is no part of the answer"
    "random()"                   = "it says only how long that is"

    [query.register]
    path   = "/register/{id}"
    params = { id = "int" }
    sql    = "register.sql"
    shape  = "json"
    reads  = ["registers"]
    scope  = "register:{id}"
    ttl    = "8s"

    [query.tree]
    path   = "/group/{group}/tree"
    params = { group = "int" }
    sql    = "tree.sql"
    shape  = "json"
    reads  = ["parents", "children"]
    scope  = "group:{group}"
    on_change = "refresh"
    ttl    = "4s"
    stale_if_error = "2s"

    [query.room]
    path   = "/house/{house}/room"
    params = { house = "int", from = "date", to = "date", room = "int = 0" }
    sql    = "room.sql"
    shape  = "json"
    reads  = ["registers"]
    scope  = "house:{house}"
    where  = { day = "{from}..{to}", room = "{room} unless 0" }
    ttl    = "6s"

    [query.nest]
    path   = "/house/{house}/nest"
    params = { house = "int", day = "date" }
    sql    = "nest.sql"
    shape  = "json"
    reads  = ["parents", "children"]
    scope  = "house:{house}"
    where  = { day = "{day}" }
    ttl    = "6s"

    [query.notices]
    path   = "/notices"
    sql    = "notices.sql"
    shape  = "json"
    reads  = ["notices"]
    ttl    = "8s"
    l1     = "1s"

    [query.overview]
    path   = "/group/{group}/overview"
    params = { group = "int" }
    sql    = "overview.sql"
    shape  = "json"
    reads  = ["registers", "parents", "children", "notices"]
    scope  = "group:{group}"
    max_staleness = "3s"
    on_change = "revalidate"
    ttl    = "8s"
    l1     = "300ms"

    [query.exact]
    path   = "/group/{group}/exact"
    params = { group = "int" }
    sql    = "exact.sql"
    shape  = "json"
    reads  = ["registers"]
    scope  = "group:{group}"
    max_staleness = "0s"

    [command.touch_register]
    method = "PUT"
    path   = "/register/{id}"
    params = { id = "int", tag = "int" }
    sql    = "touch_register.sql"

    [command.move_register]
    method = "PUT"
    path   = "/register/{id}/group"
    params = { id = "int", group = "int", tag = "int" }
    sql    = "move_register.sql"

    [command.touch_child]
    method = "PUT"
    path   = "/child/{id}"
    params = { id = "int", tag = "int" }
    sql    = "touch_child.sql"

    [command.put_notice]
    method = "PUT"
    path   = "/notice/{id}"
    params = { id = "int", tag = "int" }
    sql    = "put_notice.sql"

    [table.registers]
    scope  = ["group:{grp}", "register:{id}", "house:{house}"]
    facets = { day = "{day}", room = "{grp}" }

    [table.parents]
    scope  = ["group:{grp}", "house:{house}"]
    facets = { day = "{day}" }

    [table.children]
    scope  = ["group:{parents.grp}", "house:{parents.house}"]
    facets = { day = "{parents.day}" }
"#;

/// Tables and triggers.
///
/// A row's version is drawn before it is written. The order of the changes of one row is that of
/// `seq`, which is drawn after: by then the row is locked until its transaction ends, and an insert
/// has waited for whoever deleted the same id. `TRUNCATE` locks the table before its trigger runs.
const SCHEMA: &str = r"
    CREATE SCHEMA judge;
    CREATE SEQUENCE judge.version;
    CREATE TABLE judge.history (
        seq       bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        tag       bigint NOT NULL DEFAULT current_setting('judge.tag')::bigint,
        xid       bigint NOT NULL DEFAULT pg_current_xact_id()::text::bigint,
        life      bigint NOT NULL DEFAULT (extract(epoch FROM pg_postmaster_start_time()) * 1000000)::bigint,
        tab       text   NOT NULL,
        id        bigint NOT NULL,
        version   bigint NOT NULL,
        place     bigint
    );

    CREATE TABLE registers (id bigint PRIMARY KEY, grp bigint NOT NULL, version bigint, tag bigint,
        house bigint GENERATED ALWAYS AS (grp % 3) STORED,
        day date GENERATED ALWAYS AS (make_date(2025, grp::int, 15)) STORED);
    CREATE INDEX ON registers (grp);
    CREATE TABLE parents (id bigint PRIMARY KEY, grp bigint NOT NULL, version bigint, tag bigint,
        house bigint GENERATED ALWAYS AS (grp % 3) STORED,
        day date GENERATED ALWAYS AS (make_date(2025, grp::int, 15)) STORED);
    CREATE TABLE children (id bigint PRIMARY KEY, parent_id bigint NOT NULL REFERENCES parents ON DELETE CASCADE,
                           version bigint, tag bigint);
    CREATE INDEX ON children (parent_id);
    CREATE TABLE notices (id bigint PRIMARY KEY, version bigint, tag bigint);

    CREATE FUNCTION judge.sign() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        NEW.version := nextval('judge.version');
        NEW.tag := current_setting('judge.tag')::bigint;
        RETURN NEW;
    END $$;

    CREATE FUNCTION judge.record() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        IF TG_OP = 'DELETE' THEN
            INSERT INTO judge.history (tab, id, version, place)
            VALUES (TG_TABLE_NAME, OLD.id, nextval('judge.version'), NULL);
        ELSE
            INSERT INTO judge.history (tab, id, version, place)
            VALUES (TG_TABLE_NAME, NEW.id, NEW.version,
                    CASE TG_ARGV[0] WHEN '' THEN 0 ELSE (to_jsonb(NEW) ->> TG_ARGV[0])::bigint END);
        END IF;
        RETURN NULL;
    END $$;

    CREATE FUNCTION judge.record_truncate() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        EXECUTE format('INSERT INTO judge.history (tab, id, version, place)
                        SELECT %L, id, nextval(''judge.version''), NULL FROM %I', TG_TABLE_NAME, TG_TABLE_NAME);
        RETURN NULL;
    END $$;

    DO $$
    DECLARE
        tab text;
        place text;
    BEGIN
        FOR tab, place IN VALUES ('registers', 'grp'), ('parents', 'grp'), ('children', 'parent_id'), ('notices', '') LOOP
            EXECUTE format('CREATE TRIGGER sign BEFORE INSERT OR UPDATE ON %I FOR EACH ROW EXECUTE FUNCTION judge.sign()', tab);
            EXECUTE format('CREATE TRIGGER record AFTER INSERT OR UPDATE OR DELETE ON %I FOR EACH ROW EXECUTE FUNCTION judge.record(%L)', tab, place);
            EXECUTE format('CREATE TRIGGER record_truncate BEFORE TRUNCATE ON %I FOR EACH STATEMENT EXECUTE FUNCTION judge.record_truncate()', tab);
        END LOOP;
    END $$;

    SET judge.tag = '0';
    INSERT INTO registers SELECT n, n % 12 + 1 FROM generate_series(1, 72) AS n;
    INSERT INTO parents SELECT n, n % 12 + 1 FROM generate_series(1, 24) AS n;
    INSERT INTO children SELECT n, n % 24 + 1 FROM generate_series(1, 72) AS n;
    INSERT INTO notices SELECT n FROM generate_series(1, 16) AS n;
";
