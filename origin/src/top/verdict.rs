//! Whether all is well, in a line: the worst that the figures show.

use super::{
    number::{bytes, clock, percent, rate, time},
    view::View,
};
use crate::live::message::{Figures, Hello, RegionFigures};

/// At less than one answer a second a ratio says little.
const FEW_ANSWERS: f64 = 1.0;

/// As the alerts in `ops/prometheus` have it.
const LOW_HIT_RATIO: f64 = 0.8;

/// As the alerts in `ops/prometheus` have it.
const FULL: f64 = 0.9;

/// How well it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Health {
    /// Nothing has been heard yet.
    Unknown,
    /// All is well.
    Well,
    /// It gets slow or dear.
    Warning,
    /// A promise is broken, or answers fail; or nobody knows.
    Broken,
}

/// How well it is, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Verdict {
    pub(super) health: Health,
    pub(super) text: String,
}

impl Verdict {
    fn new(health: Health, text: impl Into<String>) -> Self {
        Self {
            health,
            text: text.into(),
        }
    }
}

/// What is to be said of all that has been heard.
pub(super) fn of(view: &View) -> Verdict {
    if let Some(lost) = &view.lost {
        let since = clock(lost.since);
        let text = format!("disconnected since {since} UTC: {}", lost.why);
        return Verdict::new(Health::Broken, text);
    }
    let Some(figures) = &view.figures else {
        return Verdict::new(
            Health::Unknown,
            "connected; the first figures are on their way",
        );
    };
    let mut verdicts = of_figures(view.hello.as_ref(), figures);
    if view.feed_up == Some(false) {
        let text = "what changes can't be heard: Redis lets nobody listen";
        verdicts.push(Verdict::new(Health::Warning, text));
    }
    if let Some(why) = &view.illegible {
        let text = format!("a message can't be read; is the origin of another version? {why}");
        verdicts.push(Verdict::new(Health::Warning, text));
    }
    let Some(worst) = verdicts.iter().map(|verdict| verdict.health).max() else {
        return Verdict::new(Health::Well, "all is well");
    };
    verdicts.sort_by_key(|verdict| std::cmp::Reverse(verdict.health));
    let texts: Vec<_> = verdicts.into_iter().map(|verdict| verdict.text).collect();
    Verdict::new(worst, texts.join("; "))
}

fn of_figures(hello: Option<&Hello>, figures: &Figures) -> Vec<Verdict> {
    let promises = hello.iter().flat_map(|hello| &hello.queries);
    let promise_ms = promises.filter_map(|query| query.promise_ms).min();
    let mut verdicts: Vec<_> = figures
        .regions
        .iter()
        .flat_map(|region| of_region(region, promise_ms))
        .collect();
    let shed = figures.gate.shed_per_s;
    if shed > 0.0 {
        let text = format!("{} queries a second are refused: too many run", rate(shed));
        verdicts.push(Verdict::new(Health::Broken, text));
    }
    if let Some(ratio) = figures.hit_ratio
        && ratio < LOW_HIT_RATIO
        && figures.edge.per_s > FEW_ANSWERS
    {
        let ratio = percent(Some(ratio));
        let text = format!("only {ratio} of what may be cached comes from the cache");
        verdicts.push(Verdict::new(Health::Warning, text));
    }
    verdicts
}

fn of_region(region: &RegionFigures, promise_ms: Option<u64>) -> Vec<Verdict> {
    let name = &region.name;
    if !region.up {
        return vec![Verdict::new(
            Health::Broken,
            format!("{name}: Redis does not answer"),
        )];
    }
    let mut verdicts = Vec::new();
    match (region.age_ms, promise_ms) {
        (None, _) => verdicts.push(Verdict::new(
            Health::Broken,
            format!("{name}: no tidemark, so nothing is served from the cache"),
        )),
        (Some(age_ms), Some(promise_ms)) if age_ms > promise_ms => {
            let age = time(Some(millis(age_ms)));
            let text = format!("{name}: the tidemark is {age} old, more than promised");
            verdicts.push(Verdict::new(Health::Broken, text));
        }
        (Some(_), _) => {}
    }
    if let (Some(used), Some(most)) = (region.used_memory, region.max_memory)
        && most > 0.0
        && used > FULL * most
    {
        let text = format!("{name}: {} of {} memory", bytes(used), bytes(most));
        verdicts.push(Verdict::new(Health::Warning, text));
    }
    if let Some(evicted) = region.evicted_per_s.filter(|evicted| *evicted > 0.0) {
        let text = format!("{name}: evicts {} a second", rate(evicted));
        verdicts.push(Verdict::new(Health::Warning, text));
    }
    verdicts
}

/// A time in ms as the figures have it.
#[expect(clippy::cast_precision_loss)]
pub(super) fn millis(ms: u64) -> f64 {
    ms as f64
}
