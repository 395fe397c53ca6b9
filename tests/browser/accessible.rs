//! The page can be used by keyboard, read aloud, and read on a telephone.

use std::collections::BTreeSet;

use fantoccini::key::Key;
use serde_json::{Value, json};
use tidemark_tests::{tools, wait};

use crate::{
    chromium::{Browser, Scheme, View},
    console::{demo, open, psql},
    turn,
};

const VIEWS: [View; 4] = [
    View {
        width: 1440,
        height: 900,
        scheme: Scheme::Light,
    },
    View {
        width: 1440,
        height: 900,
        scheme: Scheme::Dark,
    },
    View {
        width: 1000,
        height: 900,
        scheme: Scheme::Light,
    },
    View {
        width: 360,
        height: 740,
        scheme: Scheme::Dark,
    },
];

/// What axe-core finds, each with what it is about.
async fn violations(page: &Browser) -> Vec<String> {
    let found = page
        .run_async(
            "const done = arguments[0];
             axe.run().then(({ violations }) => done(violations), (error) => done(String(error)))",
            vec![],
        )
        .await;
    let found = found.as_array().unwrap_or_else(|| panic!("{found}"));
    let places = |violation: &Value| -> Vec<String> {
        let nodes = violation["nodes"].as_array().into_iter().flatten();
        nodes.map(|node| node["html"].to_string()).collect()
    };
    found
        .iter()
        .map(|violation| format!("{}: {:?}", violation["help"], places(violation)))
        .collect()
}

#[tokio::test]
async fn axe_finds_nothing_and_nothing_is_wider_than_the_page() {
    let _turn = turn().await;
    let stack = demo().await;
    let page = open(&stack).await;
    page.says("#demo-board h3", |text| text.contains("EUR"))
        .await;
    psql(
        &stack,
        "UPDATE organizations SET name = 'Renamed' WHERE id = 42",
    );
    page.says("#feed", |text| text.contains("org:42")).await;

    let axe = tools::repository().join("tests/browser/vendor/axe-core/axe.min.js");
    page.run(&std::fs::read_to_string(axe).unwrap(), vec![])
        .await;
    for view in VIEWS {
        page.view(view).await;
        let too_wide = async || {
            let excess = "const root = document.documentElement;
                          return [innerWidth, root.scrollWidth - root.clientWidth]";
            page.run(excess, vec![]).await
        };
        // Charts take their new width a moment later.
        wait::until("no wider than the page", too_wide, |measured| {
            *measured == json!([view.width, 0])
        })
        .await;
        assert_eq!(violations(&page).await, [""; 0], "{view:?}");
    }
}

#[tokio::test]
async fn every_control_is_reached_by_tab_and_shows_it() {
    let _turn = turn().await;
    let stack = demo().await;
    let page = open(&stack).await;
    page.says("#demo-board h3", |text| text.contains("EUR"))
        .await;
    let name = "const name = (node) => node.id || node.name || node.textContent.trim();";
    let all = format!(
        "{name} return [...document.querySelectorAll('a, button, input, summary, [tabindex=\"0\"]')].map(name)"
    );
    let all = page.run(&all, vec![]).await;
    let wanted: BTreeSet<_> = all
        .as_array()
        .unwrap()
        .iter()
        .map(Value::to_string)
        .collect();
    assert!(wanted.len() > 8, "{wanted:?}");

    let focused = format!(
        "{name} const node = document.activeElement;
         const {{ outlineStyle, outlineWidth }} = getComputedStyle(node);
         return [name(node), node === document.body || (outlineStyle !== 'none' && parseFloat(outlineWidth) >= 1)]"
    );
    let mut reached = BTreeSet::new();
    // A date has three fields and a button of its own.
    for _ in 0..3 * wanted.len() {
        page.press(Key::Tab).await;
        let now = page.run(&focused, vec![]).await;
        assert_eq!(now[1], true, "{} shows no focus", now[0]);
        reached.insert(now[0].to_string());
    }
    let missed: Vec<_> = wanted.difference(&reached).collect();
    assert!(missed.is_empty(), "not reached: {missed:?}");

    // And a button can be pressed.
    page.run("document.querySelector('#feed-pause').focus()", vec![])
        .await;
    page.press(Key::Space).await;
    page.says("#feed-pause", |text| text == "Paused").await;
}
