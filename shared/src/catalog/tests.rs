use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use crate::{param::Params, policy::OnChange};

const ERP: &str = r#"
[query.dashboard]
path   = "/org/{org}/dashboard"
params = { org = "int", from = "date", region = "text(32) = all" }
sql    = "sql/dashboard.sql"
reads  = ["orders", "order_items", "products"]
scope  = "org:{org}"
ttl    = "5m"

[query.products]
path          = "/products"
sql           = "sql/products.sql"
reads         = ["products", "inventory"]
max_staleness = "0s"

[command.create_order]
method = "POST"
path   = "/org/{org}/orders"
params = { org = "int", items = [{ product = "int", quantity = "int" }] }
sql    = "sql/create_order.sql"
status = 201

[table.orders]
scope = ["org:{org_id}", "order:{id}"]
[table.order_items]
scope = "org:{orders.org_id}"
"#;

#[test]
fn scopes_narrow_the_tables_that_carry_the_family() {
    let catalog = Catalog::parse("tidemark.toml", ERP).unwrap();
    let query = &catalog.queries["dashboard"];
    assert_eq!(query.whole_tables, ["products"]);
    let path_args = [("org".to_owned(), "42".to_owned())];
    let params = Params::from_target(&query.params, &path_args, "from=2025-01-01").unwrap();
    let scopes: Vec<_> = query.scopes(&params).iter().map(Scope::to_string).collect();
    assert_eq!(scopes, ["org:42", "org:*", "products"]);
    assert_eq!(catalog.stamp_ttl(), Duration::from_secs(600));
    assert_eq!(catalog.commands["create_order"].status, StatusCode::CREATED);
}

/// What a table records: `org via orders` for each family, `whole` for itself; and for which queries.
fn recorded(catalog: &Catalog, table: &str) -> Vec<(String, Vec<String>)> {
    let member = |source: &FamilySource| format!("{} by {}", source.family, source.path);
    let shown = |touches: &Touches| match touches {
        Touches::Table => "whole".to_owned(),
        Touches::Family(source) => member(source),
        Touches::Parts(source, facets) => {
            let facets = facets
                .iter()
                .map(|it| format!("{} by {}", it.facet, it.path));
            format!(
                "{}, {}",
                member(source),
                facets.collect::<Vec<_>>().join(", ")
            )
        }
    };
    let queries = |capture: &Capture<'_>| capture.queries.iter().map(ToString::to_string).collect();
    catalog.captures()[table]
        .iter()
        .map(|capture| (shown(&capture.touches), queries(capture)))
        .collect()
}

#[test]
fn l1_is_off_unless_declared_and_at_most_the_promise() {
    let l1 = |declared: &str| {
        let text = ERP.replace("ttl    = \"5m\"", declared);
        let catalog = Catalog::parse("tidemark.toml", &text).unwrap();
        catalog.queries["dashboard"].policy.l1
    };
    assert_eq!(l1(""), Duration::ZERO);
    assert_eq!(l1("l1 = \"250ms\""), Duration::from_millis(250));
    assert_eq!(l1("l1 = \"1s\""), Duration::from_secs(1));
    let both = "max_staleness = \"5s\"\nl1 = \"5s\"";
    assert_eq!(l1(both), Duration::from_secs(5));
}

#[test]
fn stale_answers_are_off_unless_declared_and_outlive_no_stamp() {
    let catalog = |fields: &str| {
        let text = ERP.replace("ttl    = \"5m\"", fields);
        Catalog::parse("tidemark.toml", &text).unwrap()
    };
    let policy = |catalog: &Catalog| catalog.queries["dashboard"].policy;
    assert_eq!(policy(&catalog("")), Policy::DEFAULT);
    let spelt_out = "on_change = \"expire\"\nstale_if_error = \"0s\"\nl1 = \"0s\"";
    assert_eq!(policy(&catalog(spelt_out)), Policy::DEFAULT);
    let patient = catalog("on_change = \"revalidate\"\nstale_if_error = \"1h\"");
    let expected = Policy {
        on_change: OnChange::Revalidate,
        stale_if_error: Duration::from_secs(3_600),
        ..Policy::DEFAULT
    };
    assert_eq!(policy(&patient), expected);
    assert_eq!(patient.stamp_ttl(), Duration::from_secs(2 * (3_600 + 300)));
}

#[test]
fn capture_records_only_what_a_query_depends_on() {
    let catalog = Catalog::parse("tidemark.toml", ERP).unwrap();
    let of_dashboard = |what: &str| vec![(what.to_owned(), vec!["dashboard".to_owned()])];
    assert_eq!(recorded(&catalog, "products"), of_dashboard("whole"));
    // No query has the scope order:…, so nothing needs to be recorded for it.
    assert_eq!(recorded(&catalog, "orders"), of_dashboard("org by org_id"));
    assert_eq!(
        recorded(&catalog, "order_items"),
        of_dashboard("org by orders.org_id")
    );
    // What is never cached needs no invalidation.
    assert!(!catalog.captures().contains_key("inventory"));
}

#[test]
fn capture_covers_every_table_on_the_way_to_a_family() {
    let text = r#"
        [query.items]
        path = "/customer/{id}/items"
        params = { id = "int" }
        sql = "items.sql"
        reads = ["order_items"]
        scope = "customer:{id}"
        [table.order_items]
        scope = "customer:{orders.customers.id}"
    "#;
    let catalog = Catalog::parse("tidemark.toml", text).unwrap();
    assert_eq!(
        recorded(&catalog, "order_items"),
        [(
            "customer by orders.customers.id".to_owned(),
            vec!["items".to_owned()]
        )]
    );
    // Nothing else of these rows is in any answer.
    assert_eq!(
        recorded(&catalog, "orders"),
        [("customer by customers.id".to_owned(), vec![])]
    );
    assert_eq!(
        recorded(&catalog, "customers"),
        [("customer by id".to_owned(), vec![])]
    );
}

#[test]
fn what_no_trigger_sees_is_acknowledged_with_a_reason() {
    let text = r#"
        [query.sales]
        path = "/sales"
        sql = "sales.sql"
        reads = []
        [query.sales.acknowledge]
        "daily_sales" = "refreshed nightly; a ttl of 1h is enough"
    "#;
    let catalog = Catalog::parse("tidemark.toml", text).unwrap();
    let query = &catalog.queries["sales"];
    assert_eq!(
        query.acknowledge["daily_sales"],
        "refreshed nightly; a ttl of 1h is enough"
    );
    let params = Params::from_target(&query.params, &[], "").unwrap();
    assert_eq!(query.scopes(&params), []);
}

/// Answers that are narrowed below their member, and some that are not.
const PARTS: &str = r#"
[query.dashboard]
path   = "/org/{org}/dashboard"
params = { org = "int", from = "date?", to = "date", region = "text(32) = all" }
sql    = "dashboard.sql"
reads  = ["orders", "order_items", "customers"]
scope  = "org:{org}"
where  = { day = "{from}..{to}", region = "{region} unless all" }
ttl    = "5m"

[table.orders]
scope  = ["org:{org_id}", "order:{id}"]
facets = { day = "{ordered_on}", region = "{customers.region}" }
[table.order_items]
scope  = ["org:{orders.org_id}", "order:{order_id}"]
facets = { day = "{orders.ordered_on}", region = "{orders.customers.region}" }
[table.customers]
scope  = "org:{org_id}"

[query.days]
path   = "/org/{org}/days"
params = { org = "int", day = "date" }
sql    = "days.sql"
reads  = ["orders"]
scope  = "org:{org}"
where  = { day = "{day}" }

[query.orders]
path   = "/org/{org}/orders"
params = { org = "int" }
sql    = "orders.sql"
reads  = ["orders"]
scope  = "org:{org}"

[query.customers]
path   = "/org/{org}/customers"
params = { org = "int" }
sql    = "customers.sql"
reads  = ["customers"]
scope  = "org:{org}"

[query.order]
path   = "/order/{id}"
params = { id = "int" }
sql    = "order.sql"
reads  = ["orders", "order_items"]
scope  = "order:{id}"
"#;

#[test]
fn an_answer_depends_on_the_parts_that_cover_it() {
    let catalog = Catalog::parse("tidemark.toml", PARTS).unwrap();
    let scopes = |query: &str, target: &str| {
        let query = &catalog.queries[query];
        let member = query.member.as_ref().unwrap();
        let path_args = [(member.param.clone(), "42".to_owned())];
        let params = Params::from_target(&query.params, &path_args, target).unwrap();
        let scopes = query.scopes(&params);
        let texts = scopes.iter().map(Scope::to_string).skip(2);
        texts.collect::<Vec<_>>()
    };
    for (target, parts) in [
        ("from=2025-12-01&to=2025-12-31", &["org:42?day=2025-12"][..]),
        (
            "from=2025-12-01&to=2025-12-31&region=north",
            &["org:42?day=2025-12&region=north"],
        ),
        (
            "from=2025-09-30&to=2025-12-31&region=a%26b",
            &[
                "org:42?day=2025-09-30&region=a%26b",
                "org:42?day=2025-Q4&region=a%26b",
            ],
        ),
        // Any day: where the first is absent, or the days are too many to be named.
        ("to=2025-12-31&region=north", &["org:42?region=north"]),
        ("from=1900-01-01&to=2025-12-31", &["org:42?"]),
        ("to=2025-12-31", &["org:42?"]),
    ] {
        assert_eq!(scopes("dashboard", target), parts, "{target}");
    }
    assert_eq!(scopes("days", "day=2025-12-07"), ["org:42?day=2025-12-07"]);
    assert_eq!(scopes("orders", ""), ["org:42?"]);
    // No table that these read tells parts of its rows.
    assert_eq!(scopes("customers", ""), [""; 0]);
    assert_eq!(scopes("order", ""), [""; 0]);
}

proptest! {
    /// Whatever of a row is known, and whatever is asked: if the answer may show the row, they meet.
    #[test]
    fn i1_a_row_that_an_answer_may_show_touches_it(
        day in prop::option::of(0_i32..1_500),
        region in prop::option::of(prop::sample::select(vec!["all", "a", "b&day=2025"])),
        from in prop::option::of(0_i32..1_500),
        length in 0_i32..1_500,
        asked in prop::sample::select(vec!["all", "a", "b&day=2025"]),
    ) {
        use jiff::{ToSpan as _, civil::date};
        let on = |day: i32| date(2023, 1, 15) + day.days();
        let catalog = Catalog::parse("tidemark.toml", PARTS).unwrap();
        let facets = day.zip(region).map(|(day, region)| vec![
            ("day".to_owned(), FacetValue::Day(on(day))),
            ("region".to_owned(), FacetValue::Word(region.to_owned())),
        ]);
        let touched = part::touched("org", [("42".to_owned(), facets)]);

        let to = from.unwrap_or(0) + length;
        let mut target = format!("to={}&region={}", on(to), asked.replace('&', "%26").replace('=', "%3D"));
        if let Some(from) = from {
            target = format!("from={}&{target}", on(from));
        }
        let of = |query: &str, id: &str, target: &str| {
            let query = &catalog.queries[query];
            let params = Params::from_target(&query.params, &[("org".to_owned(), id.to_owned())], target);
            query.scopes(&params.unwrap())
        };
        let meets = |scopes: Vec<Scope>| scopes.iter().any(|scope| touched.contains(scope));
        let in_time = from.is_none_or(|from| day.is_none_or(|day| (from..=to).contains(&day)));
        let in_place = asked == "all" || region.is_none_or(|region| region == asked);
        if in_time && in_place {
            prop_assert!(meets(of("dashboard", "42", &target)));
        }
        if day.is_some() && region.is_some() && !in_place {
            prop_assert!(!meets(of("dashboard", "42", &target)));
        }
        prop_assert!(meets(of("orders", "42", "")));
        prop_assert!(!meets(of("orders", "43", "")));
        let today = day.map_or(on(0), on);
        let of_day = of("days", "42", &format!("day={today}"));
        prop_assert!(meets(of_day));
    }
}

#[test]
fn changes_tell_all_facets_that_some_query_asks_for_or_none() {
    let catalog = Catalog::parse("tidemark.toml", PARTS).unwrap();
    let touches = |table: &str| {
        let recorded = recorded(&catalog, table).into_iter();
        recorded.map(|(touches, _)| touches).collect::<Vec<_>>()
    };
    assert_eq!(touches("customers"), ["org by org_id"]);
    // The items' way leads through orders, and so does all that tells their parts.
    let by_customer = "day by ordered_on, region by customers.region";
    assert_eq!(
        touches("orders"),
        [&format!("org by org_id, {by_customer}"), "order by id"]
    );
    let by_order = "day by orders.ordered_on, region by orders.customers.region";
    assert_eq!(
        touches("order_items"),
        [
            &format!("org by orders.org_id, {by_order}"),
            "order by order_id"
        ]
    );
}

#[test]
fn rows_that_tell_no_parts_are_in_an_answer_by_way_of_rows_that_do() {
    let with_products = |reads: &str| {
        let text = PARTS.replace(
            "reads  = [\"orders\", \"order_items\", \"customers\"]",
            reads,
        );
        let text =
            format!("{text}\n[table.products]\nscope = \"org:{{order_items.orders.org_id}}\"");
        Catalog::parse("tidemark.toml", &text).unwrap()
    };
    let touches = |catalog: &Catalog, table: &str| {
        let recorded = recorded(catalog, table).into_iter();
        recorded.map(|(touches, _)| touches).collect::<Vec<_>>()
    };
    let catalog =
        with_products("reads  = [\"orders\", \"order_items\", \"customers\", \"products\"]");
    assert_eq!(
        touches(&catalog, "products"),
        ["org by order_items.orders.org_id"]
    );
    for table in ["orders", "order_items"] {
        let touches = touches(&catalog, table);
        assert_eq!(touches.len(), 2, "{touches:?}");
        let of_org = touches.iter().find(|it| it.starts_with("org by "));
        assert!(of_org.unwrap().contains(", day by "), "{touches:?}");
    }
    // A query that does not read them says nothing of their parts.
    let text = PARTS.replace(
        "reads  = [\"customers\"]",
        "reads  = [\"customers\", \"products\"]",
    );
    let text = format!("{text}\n[table.products]\nscope = \"org:{{order_items.orders.org_id}}\"");
    let catalog = Catalog::parse("tidemark.toml", &text).unwrap();
    for (table, member) in [
        ("orders", "org by org_id"),
        ("order_items", "org by orders.org_id"),
    ] {
        let touches = touches(&catalog, table);
        assert!(touches.contains(&member.to_owned()), "{touches:?}");
    }
}

#[test]
fn a_table_on_the_way_that_does_not_tell_the_parts_records_the_member() {
    // Now an item's day is its own: where its order goes, tells nothing of it.
    let text = PARTS.replace("{orders.ordered_on}", "{shipped_on}");
    let catalog = Catalog::parse("tidemark.toml", &text).unwrap();
    let orders = recorded(&catalog, "orders");
    let touches: Vec<_> = orders.iter().map(|(touches, _)| touches.as_str()).collect();
    assert!(touches.contains(&"org by org_id"), "{touches:?}");
}

#[test]
fn a_table_that_only_a_facet_hangs_on_records_the_member() {
    // Customers have a day of their own, which is not that of their orders.
    let text = PARTS.replace(
        "scope  = \"org:{org_id}\"\n\n[query.days]",
        "scope  = \"org:{org_id}\"\nfacets = { day = \"{since}\", region = \"{region}\" }\n\n[query.days]",
    );
    let catalog = Catalog::parse("tidemark.toml", &text).unwrap();
    let of_customers = [
        (
            "org by org_id, day by since, region by region",
            &["customers", "dashboard"][..],
        ),
        // What decides about their orders' parts.
        ("org by org_id", &[]),
    ];
    let recorded = recorded(&catalog, "customers");
    for (touches, queries) in of_customers {
        let queries = queries.iter().map(ToString::to_string).collect();
        let expected = (touches.to_owned(), queries);
        assert!(recorded.contains(&expected), "{recorded:?}");
    }
}

#[test]
fn a_part_touches_the_queries_of_tables_that_tell_parts() {
    let catalog = Catalog::parse("tidemark.toml", PARTS).unwrap();
    let touched = |scope: &str| {
        let scope = Scope::parse(scope).unwrap();
        let queries = catalog.queries.values();
        let touched = queries.filter(|query| query.depends_on(&scope));
        touched.map(|query| query.name.as_str()).collect::<Vec<_>>()
    };
    assert_eq!(
        touched("org:42"),
        ["customers", "dashboard", "days", "orders"]
    );
    assert_eq!(touched("org:42?"), ["dashboard", "days", "orders"]);
    assert_eq!(
        touched("org:42?day=2025&region=a"),
        ["dashboard", "days", "orders"]
    );
    assert_eq!(touched("order:42?"), [""; 0]);
}

/// One mistake each: what is replaced, by what, the line it is reported on, and the message.
const MISTAKES: &[(&str, &str, usize, &str)] = &[
    (
        "sql    = \"sql/dashboard.sql\"",
        "sequel = \"x\"",
        5,
        "unknown field `sequel`",
    ),
    (
        "sql    = \"sql/dashboard.sql\"\n",
        "",
        2,
        "missing field `sql`",
    ),
    (
        "[query.dashboard]",
        "[query.Dashboard]",
        2,
        "\"Dashboard\" can't name a query",
    ),
    (
        "[query.dashboard]",
        "[queries.dashboard]",
        2,
        "unknown field `queries`",
    ),
    (
        "ttl    = \"5m\"",
        "ttl    = \"5 parsecs\"",
        8,
        "\"5 parsecs\" is no duration",
    ),
    (
        "ttl    = \"5m\"",
        "weight = 0",
        8,
        "weight = 0 would never let the query run",
    ),
    (
        "ttl    = \"5m\"",
        "limit  = 0",
        8,
        "limit = 0 would never let the query run",
    ),
    (
        "ttl    = \"5m\"",
        "ttl    = \"0s\"",
        8,
        "a ttl of zero keeps nothing",
    ),
    (
        "ttl    = \"5m\"",
        "ttl    = \"1s\"\nmax_staleness = \"2s\"",
        9,
        "max_staleness is longer than ttl",
    ),
    (
        "ttl    = \"5m\"",
        "ttl    = 300",
        8,
        "invalid type: integer `300`, expected a string",
    ),
    (
        "ttl    = \"5m\"",
        "warm = \"warm.txt\"",
        8,
        "\"warm.txt\" is no SQL file of this catalog",
    ),
    (
        "ttl    = \"5m\"",
        "max_staleness = \"0s\"\nwarm = \"warm.sql\"",
        9,
        "a query that is never cached can't be warmed",
    ),
    (
        "ttl    = \"5m\"",
        "on_change = \"sometimes\"",
        8,
        "unknown on_change \"sometimes\"",
    ),
    (
        "ttl    = \"5m\"",
        "stale_if_error = \"long\"",
        8,
        "\"long\" is no duration",
    ),
    (
        "ttl    = \"5m\"",
        "max_staleness = \"0s\"\nstale_if_error = \"1m\"",
        9,
        "a query that is never cached has no stale answers",
    ),
    (
        "ttl    = \"5m\"",
        "max_staleness = \"0s\"\non_change = \"revalidate\"",
        9,
        "a query that is never cached has no stale answers",
    ),
    (
        "ttl    = \"5m\"",
        "l1 = \"1001ms\"",
        8,
        "l1 is longer than max_staleness",
    ),
    (
        "ttl    = \"5m\"",
        "max_staleness = \"0s\"\nl1 = \"1ms\"",
        9,
        "l1 is longer than max_staleness",
    ),
    (
        "ttl    = \"5m\"",
        "l1 = \"fast\"",
        8,
        "\"fast\" is no duration",
    ),
    (
        "ttl    = \"5m\"",
        "shape = \"xml\"",
        8,
        "unknown shape \"xml\"",
    ),
    (
        "org = \"int\", from",
        "org = \"integer\", from",
        4,
        "parameter \"org\": unknown parameter type \"integer\"",
    ),
    (
        "org = \"int\", from",
        "org = \"int?\", from",
        3,
        "the path parameter \"org\" is always there",
    ),
    (
        "org = \"int\", from",
        "from",
        3,
        "the path names {org}, which is not in params",
    ),
    (
        "region = \"text(32) = all\"",
        "region = \"text(2) = all\"",
        4,
        "parameter \"region\": the default \"all\" is not of type text(2)",
    ),
    (
        "region = \"text(32) = all\"",
        "region = [{ a = \"int\" }]",
        4,
        "query parameter \"region\" is a list of records",
    ),
    (
        "region = \"text(32) = all\"",
        "region = 3",
        4,
        "parameter \"region\": a parameter's type is a text",
    ),
    (
        "path   = \"/org/{org}/dashboard\"",
        "path   = \"org/{org}\"",
        3,
        "the path \"org/{org}\" does not begin with /",
    ),
    (
        "path   = \"/org/{org}/dashboard\"",
        "path   = \"/org//{org}\"",
        3,
        "has an empty segment",
    ),
    (
        "path   = \"/org/{org}/dashboard\"",
        "path   = \"/org/x{org}\"",
        3,
        "is neither plain nor one {parameter}",
    ),
    (
        "path   = \"/org/{org}/dashboard\"",
        "path   = \"/metrics/{org}\"",
        3,
        "the path \"/metrics/{org}\" is reserved",
    ),
    (
        "\"products\"]\nscope",
        "\"products\", \"orders\"]\nscope",
        6,
        "reads names \"orders\" twice",
    ),
    (
        "scope  = \"org:{org}\"",
        "acknowledge = { \"now()\" = \" \" }",
        7,
        "\"now()\" is acknowledged without a reason",
    ),
    (
        "[\"orders\", \"order_items\", \"products\"]",
        "[]",
        6,
        "reads names no table",
    ),
    (
        "\"order_items\", \"products\"]",
        "\"order_items\", \"pro;ducts\"]",
        6,
        "\"pro;ducts\" can't name a table",
    ),
    (
        "scope  = \"org:{org}\"",
        "scope  = \"org\"",
        7,
        "\"org\" is no scope of a query",
    ),
    (
        "scope  = \"org:{org}\"",
        "scope  = \"org:{organization}\"",
        7,
        "the scope names {organization}, which is not in params",
    ),
    (
        "scope  = \"org:{org}\"",
        "scope  = \"org:{from}\"",
        7,
        "a date can't identify a member",
    ),
    (
        "scope  = \"org:{org}\"",
        "scope  = \"customer:{org}\"",
        7,
        "no table in reads belongs to the family \"customer\"",
    ),
    (
        "sql/dashboard.sql",
        "../dashboard.sql",
        5,
        "\"../dashboard.sql\" is no SQL file of this catalog",
    ),
    (
        "method = \"POST\"",
        "method = \"GET\"",
        17,
        "\"GET\" is no method of a command",
    ),
    (
        "status = 201",
        "status = 404",
        21,
        "404 is no status of success",
    ),
    (
        "items = [{ product = \"int\", quantity = \"int\" }]",
        "items = []",
        19,
        "a list of records declares one record",
    ),
    (
        "scope = \"org:{orders.org_id}\"",
        "scope = \"org:orders.org_id\"",
        26,
        "\"org:orders.org_id\" is no scope of a table",
    ),
    (
        "scope = \"org:{orders.org_id}\"",
        "scope = 7",
        26,
        "a table's scope is a text or a list of texts",
    ),
    (
        "[table.order_items]",
        "[table.order_item]",
        25,
        "no query reads the table \"order_item\"",
    ),
    (
        "path          = \"/products\"",
        "path          = \"/org/{id}/dashboard\"\nparams = { id = \"int\" }",
        11,
        "clashes with another",
    ),
    ("[table.orders]", "[table.orders", 23, ""),
];

/// The same for facets.
const MISTAKEN_FACETS: &[(&str, &str, usize, &str)] = &[
    (
        "\"{from}..{to}\"",
        "\"{from}..\"",
        8,
        "\"{from}..\" narrows nothing",
    ),
    (
        "\"{from}..{to}\"",
        "\"{from}..{until}\"",
        8,
        "where names {until}, which is not in params",
    ),
    (
        "\"{from}..{to}\"",
        "\"{from}..{region}\"",
        8,
        "{region} is a text(32), and no date",
    ),
    (
        "to = \"date\"",
        "to = \"timestamp\"",
        8,
        "{to} is a timestamp, and no date",
    ),
    (
        "\"{region} unless all\"",
        "\"{from} unless all\"",
        8,
        "a date can't narrow a facet",
    ),
    (
        "region = \"text(32) = all\"",
        "region = \"int\"",
        8,
        "the value behind unless must be a whole number",
    ),
    (
        "day = \"{from}..{to}\"",
        "Day = \"{from}..{to}\"",
        8,
        "\"Day\" can't name a facet",
    ),
    (
        "scope  = \"org:{org}\"\nwhere",
        "where",
        7,
        "a query without a scope has no parts",
    ),
    (
        "where  =",
        "max_staleness = \"0s\"\nwhere  =",
        9,
        "a query that is never cached needs no narrowing",
    ),
    (
        "reads  = [\"orders\", \"order_items\", \"customers\"]",
        "reads  = [\"orders\", \"order_items\"]",
        8,
        "orders tells its region along customers, whose changes would go unnoticed",
    ),
    (
        "day = \"{day}\"",
        "region = \"{day}\"",
        8,
        "region is a word here, and none in query \"days\"",
    ),
    (
        "facets = { day = \"{ordered_on}\", region = \"{customers.region}\" }",
        "facets = { day = \"ordered_on\" }",
        13,
        "\"ordered_on\" is no facet of a table",
    ),
    (
        "day = \"{ordered_on}\", region",
        "day = \"{ordered_on}\", shop = \"{shop}\", region",
        13,
        "no query is narrowed by the facet \"shop\"",
    ),
    (
        "where  = { day = \"{from}..{to}\", region",
        "where  = { day = \"{from}..{to}\", shop = \"{org}\", region",
        8,
        "no table in reads that belongs to \"org\" tells day and region and shop",
    ),
    (
        "where  = { day = \"{from}..{to}\", region",
        "where  = { day = \"{from}..{to}\", a = \"{org}\", b = \"{org}\", region",
        8,
        "are narrowed by 4 facets (a, b, day, region)",
    ),
];

#[test]
fn every_mistake_has_its_line_and_its_remedy() {
    let of = |text, mistakes: &'static [_]| mistakes.iter().map(move |mistake| (text, mistake));
    for (text, (from, to, line, message)) in of(ERP, MISTAKES).chain(of(PARTS, MISTAKEN_FACETS)) {
        assert!(text.contains(from), "the catalog has no {from:?}");
        let error = Catalog::parse("tidemark.toml", &text.replacen(from, to, 1))
            .expect_err(&format!("{to:?} was accepted"));
        assert!(error.problem.contains(message), "{to:?}: {error}");
        assert_eq!(error.line, *line, "{to:?}: {error}");
        assert!(!error.help.is_empty());
        assert!(error.to_string().starts_with("tidemark.toml:"));
    }
}

/// The examples in the tables of `docs/catalog.md` under `heading`: each field with its TOML.
fn documented(heading: &str) -> BTreeMap<&'static str, &'static str> {
    let text = include_str!("../../../docs/catalog.md");
    let (_, section) = text.split_once(heading).unwrap();
    let rows = section
        .lines()
        .skip(1)
        .take_while(|line| !line.starts_with('#'));
    let rows = rows.filter(|line| line.starts_with("| `"));
    rows.map(|row| {
        let mut code = row.split('`').skip(1).step_by(2);
        (code.next().unwrap(), code.last().unwrap())
    })
    .collect()
}

#[test]
fn every_field_is_documented_with_an_example_that_can_be_read() {
    // What each example is added to, or put in the place of.
    let query = r#"
path = "/org/{org}/q"
params = { org = "int", from = "date", to = "date" }
scope = "org:{org}"
sql = "q.sql"
reads = ["orders"]"#;
    let command = r#"
method = "POST"
path = "/org/{org}/c"
params = { org = "int" }
sql = "c.sql""#;
    let table = r#"
scope = "org:{org_id}""#;
    let around = r#"
[query.other]
path = "/other/{org}"
params = { org = "int", day = "date" }
scope = "org:{org}"
where = { day = "{day}" }
sql = "other.sql"
reads = ["orders", "it"]
[table.orders]
scope = "org:{org_id}"
facets = { day = "{ordered_on}" }
"#;
    for (kind, required) in [("query", query), ("command", command), ("table", table)] {
        let examples = documented(&format!("## `[{kind}.NAME]`"));
        // The parser itself says which fields there are.
        let unknown = Catalog::parse("t", &format!("[{kind}.it]\nnope = 1")).unwrap_err();
        let unknown = unknown.to_string();
        let (_, known) = unknown.split_once("expected").unwrap();
        let known: BTreeSet<_> = known.split('`').skip(1).step_by(2).collect();
        let shown: BTreeSet<_> = examples.keys().copied().collect();
        assert_eq!(shown, known, "{kind}");
        for (field, example) in examples {
            let itself = format!("{field} =");
            let others = required.lines().filter(|line| !line.starts_with(&itself));
            let others: String = others.map(|line| format!("{line}\n")).collect();
            let text = format!("{around}[{kind}.it]\n{others}{example}");
            let read = Catalog::parse("t", &text);
            assert!(example.starts_with(&itself), "{example}");
            assert!(read.is_ok(), "{text}\n{read:?}");
        }
    }
}
