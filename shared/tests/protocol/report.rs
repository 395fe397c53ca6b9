//! Runs the checker and says what it found.

use std::{
    fmt::{Debug, Write as _},
    hash::Hash,
    time::Instant,
};

use stateright::{Checker, Expectation, HasDiscoveries, Model, Path};

/// A model that can be reported.
pub(crate) trait Reported: Model + Clone + Send + Sync + 'static {
    /// Its name.
    fn name(&self) -> &'static str;

    /// What a step of a counter-example leads to, in a few words.
    fn describe(&self, state: &Self::State) -> String;
}

/// Explores everything within the bounds.
///
/// # Panics
/// An invariant does not hold, or something that has to be reachable is not.
pub(crate) fn holds<M>(model: M)
where
    M: Reported + Debug,
    M::State: Hash + Send + Sync + Clone + PartialEq + Debug,
    M::Action: Clone + PartialEq + Debug,
{
    let (name, description) = (model.name(), format!("{model:?}"));
    let began = Instant::now();
    let checker = model.checker().threads(2).spawn_bfs().join();
    println!(
        "{name}: states explored = {}/{} (unique/total), depth {}, {:.1} s\n  {description}",
        checker.unique_state_count(),
        checker.state_count(),
        checker.max_depth(),
        began.elapsed().as_secs_f32(),
    );
    let found = checker.discoveries();
    let mut wrong = String::new();
    for property in checker.model().properties() {
        match (property.expectation, found.get(property.name)) {
            (Expectation::Sometimes, None) => {
                let _ = writeln!(wrong, "not reached: {}", property.name);
            }
            (Expectation::Sometimes, Some(_)) => println!("  reached: {}", property.name),
            (_, None) => println!("  holds: {}", property.name),
            (_, Some(_)) => {
                let _ = writeln!(wrong, "broken: {}", property.name);
            }
        }
    }
    for property in checker.model().properties() {
        if property.expectation.discovery_is_failure() && found.contains_key(property.name) {
            let path = shortest(checker.model(), property.name).expect("a counter-example");
            let _ = write!(wrong, "{}", trace(checker.model(), property.name, &path));
        }
    }
    assert!(wrong.is_empty(), "{name}\n{wrong}");
}

/// Finds the shortest way to break an invariant.
///
/// # Panics
/// There is none.
pub(crate) fn breaks<M>(model: &M, invariant: &'static str)
where
    M: Reported,
    M::State: Hash + Send + Sync + Clone + PartialEq + Debug,
    M::Action: Clone + PartialEq + Debug,
{
    let began = Instant::now();
    let path =
        shortest(model, invariant).unwrap_or_else(|| panic!("{}: {invariant} holds", model.name()));
    println!(
        "{}: {invariant} is broken after {} steps, found in {:.1} s\n{}",
        model.name(),
        path.clone().into_actions().len(),
        began.elapsed().as_secs_f32(),
        trace(model, invariant, &path),
    );
}

/// The shortest path to a state in which an invariant is broken.
fn shortest<M>(model: &M, invariant: &'static str) -> Option<Path<M::State, M::Action>>
where
    M: Reported,
    M::State: Hash + Send + Sync + Clone + PartialEq,
    M::Action: Clone + PartialEq,
{
    let mut best: Option<Path<M::State, M::Action>> = None;
    loop {
        let broken = HasDiscoveries::AllOf([invariant].into());
        let mut checker = model.clone().checker().finish_when(broken);
        if let Some(path) = &best {
            // The checker looks in blocks, so what it finds first may be a few steps too long.
            checker = checker.target_max_depth(path.clone().into_states().len());
        }
        match checker.spawn_bfs().join().discovery(invariant) {
            None => return best,
            found => best = found,
        }
    }
}

fn trace<M>(model: &M, broken: &str, path: &Path<M::State, M::Action>) -> String
where
    M: Reported,
    M::State: Clone,
    M::Action: Clone + Debug,
{
    let mut text = String::new();
    let steps = path.clone().into_vec();
    for (place, pair) in steps.windows(2).enumerate() {
        let [(_, Some(action)), (after, _)] = pair else {
            continue;
        };
        let action = format!("{action:?}");
        let _ = writeln!(
            text,
            "  {:>2}. {action:<38} {}",
            place + 1,
            model.describe(after)
        );
    }
    let _ = writeln!(text, "      {broken} does not hold");
    text
}
