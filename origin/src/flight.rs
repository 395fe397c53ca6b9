//! Which requests share a load at the origin: at most one running and one waiting for each key.
//!
//! Who shares which is [`tidemark_shared::flight`]'s account, as at the edge; here is how its result
//! gets to them. A load runs in a task of its own, so that no client that goes away takes another
//! one's answer with it. That *nobody* waits for it any more ends it: its future is dropped, and the
//! load that waits for it begins.

use std::{
    pin::pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tidemark_shared::{
    flight::{Account, Claim, Landed, Seat},
    key::Key,
};
use tokio::sync::watch;

/// The loads of this process.
pub(crate) struct Flights<T>(Arc<Mutex<Account<Passengers<T>>>>);

/// Those aboard a load: each has a receiver, and that there is none any more can be waited for.
type Passengers<T> = watch::Sender<Option<T>>;

/// A request's place aboard a load; whoever drops it has left.
#[derive(Debug)]
pub(crate) struct Aboard<T> {
    /// Whether another request is the cause of the load.
    pub(crate) shared: bool,
    landed: watch::Receiver<Option<T>>,
}

impl<T> Default for Flights<T> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

impl<T: Clone + Send + Sync + 'static> Flights<T> {
    /// Finds the load that serves this claim. Where one begins with it, it is made by `load`, and so is
    /// the next one of the same key, which asks the same.
    pub(crate) fn board<F>(
        &self,
        key: Key,
        claim: Claim,
        load: impl Fn() -> F + Send + 'static,
    ) -> Aboard<T>
    where
        F: Future<Output = T> + Send + 'static,
    {
        let (seat, landed) = {
            let mut account = lock(&self.0);
            let boarded = account.board(&key, claim, None);
            // Before the account is free again, where it would look as if nobody were aboard.
            (boarded.seat, boarded.passengers.subscribe())
        };
        if seat == Seat::Begins {
            let flight = Flight {
                account: self.0.clone(),
                key,
                under_way: true,
            };
            tokio::spawn(flight.run(load));
        }
        Aboard {
            shared: seat == Seat::Shares,
            landed,
        }
    }
}

impl<T: Clone> Aboard<T> {
    /// The load's result; nothing if the load was given up, because it has panicked.
    pub(crate) async fn result(mut self) -> Option<T> {
        let landed = self.landed.wait_for(Option::is_some).await;
        landed.ok().and_then(|result| result.clone())
    }
}

/// The duty to end a key's loads.
struct Flight<T> {
    account: Arc<Mutex<Account<Passengers<T>>>>,
    key: Key,
    under_way: bool,
}

impl<T: Clone> Flight<T> {
    /// Runs a load, then those that have waited for it.
    async fn run<F: Future<Output = T>>(mut self, load: impl Fn() -> F) {
        while let Some(passengers) = self.passengers() {
            let mut loading = pin!(load());
            loop {
                tokio::select! {
                    biased;
                    () = passengers.closed() => {
                        if self.end_if_deserted() {
                            break;
                        }
                    }
                    result = &mut loading => {
                        self.end(result);
                        break;
                    }
                }
            }
        }
    }

    /// Those aboard the running load, if there is one to be run.
    fn passengers(&self) -> Option<Passengers<T>> {
        let account = self.under_way.then(|| lock(&self.account))?;
        account.passengers(&self.key).cloned()
    }

    fn end(&mut self, result: T) {
        let landed = lock(&self.account).land(&self.key);
        if let Some(passengers) = self.go_on(landed) {
            passengers.send_replace(Some(result));
        }
    }

    /// Ends the load, unless somebody has come aboard since nobody was.
    fn end_if_deserted(&mut self) -> bool {
        let account = self.account.clone();
        let mut account = lock(&account);
        let aboard = account
            .passengers(&self.key)
            .map(watch::Sender::receiver_count);
        let deserted = aboard.is_none_or(|aboard| aboard == 0);
        if deserted {
            let landed = account.land(&self.key);
            self.go_on(landed);
        }
        deserted
    }

    fn go_on(&mut self, landed: Option<Landed<Passengers<T>>>) -> Option<Passengers<T>> {
        self.under_way = landed.as_ref().is_some_and(|landed| landed.goes_on);
        landed.map(|landed| landed.passengers)
    }
}

impl<T> Drop for Flight<T> {
    /// A load that has panicked: both of the key's loads are forgotten, and whoever is aboard hears
    /// of it, because the senders go as well.
    fn drop(&mut self) {
        if self.under_way {
            let aboard = lock(&self.account).give_up(&self.key);
            drop(aboard);
        }
    }
}

fn lock<T>(account: &Mutex<T>) -> MutexGuard<'_, T> {
    // No step of the account can end halfway.
    account.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tidemark_shared::{
        catalog::Catalog, digest::Digest, epoch::Epoch, flight::Observed, param::Params,
        stamp::Witness,
    };
    use tokio::{
        sync::Semaphore,
        task::{JoinHandle, yield_now},
    };

    use super::*;

    fn key() -> Key {
        let catalog = "[query.all]\npath = \"/\"\nsql = \"all.sql\"\nreads = [\"orders\"]";
        let catalog = Catalog::parse("t.toml", catalog).unwrap();
        let query = &catalog.queries["all"];
        Key::of(query, &Params::from_target(&query.params, &[], "").unwrap())
    }

    fn saw(stamps: u8) -> Claim {
        let witness = Witness::from_digest(Digest::from_bytes([stamps; 16]));
        Claim::of_question(Some(Observed::of(Epoch::new(1), witness)))
    }

    /// An origin whose loads answer their number, each when it is let.
    #[derive(Clone, Default)]
    struct World {
        flights: Arc<Flights<usize>>,
        begun: Arc<AtomicUsize>,
        /// How many are under way.
        alive: Arc<()>,
        answers: Arc<Answers>,
    }

    struct Answers(Semaphore);

    impl Default for Answers {
        fn default() -> Self {
            Self(Semaphore::new(0))
        }
    }

    impl World {
        /// A request, once it is aboard.
        async fn ask(&self, claim: Claim) -> JoinHandle<(Option<usize>, bool)> {
            let world = self.clone();
            let asked = tokio::spawn(async move {
                let World {
                    begun,
                    alive,
                    answers,
                    ..
                } = world.clone();
                let load = move || {
                    let (begun, alive, answers) = (begun.clone(), alive.clone(), answers.clone());
                    async move {
                        let _alive = alive;
                        let number = begun.fetch_add(1, Ordering::SeqCst) + 1;
                        answers.0.acquire().await.unwrap().forget();
                        number
                    }
                };
                let aboard = world.flights.board(key(), claim, load);
                let shared = aboard.shared;
                (aboard.result().await, shared)
            });
            settle().await;
            asked
        }

        fn begun(&self) -> usize {
            self.begun.load(Ordering::SeqCst)
        }

        async fn answer(&self) {
            self.answers.0.add_permits(1);
            settle().await;
        }
    }

    /// The test's one thread lets all others go on as far as they can.
    async fn settle() {
        for _ in 0..20 {
            yield_now().await;
        }
    }

    fn got(result: usize, shared: bool) -> (Option<usize>, bool) {
        (Some(result), shared)
    }

    #[tokio::test]
    async fn i5_a_key_has_one_running_and_one_waiting_load() {
        let world = World::default();
        let first = world.ask(saw(1)).await;
        let same = world.ask(saw(1)).await;
        let other = world.ask(saw(2)).await;
        let blind = world.ask(Claim::NONE).await;
        assert_eq!(world.begun(), 1);
        world.answer().await;
        assert_eq!(first.await.unwrap(), got(1, false));
        assert_eq!(same.await.unwrap(), got(1, true));
        assert_eq!(world.begun(), 2);
        world.answer().await;
        assert_eq!(other.await.unwrap(), got(2, false));
        assert_eq!(blind.await.unwrap(), got(2, true));
        assert!(lock(&world.flights.0).is_empty());
    }

    #[tokio::test]
    async fn a_client_that_goes_away_takes_nobodys_answer_with_it() {
        let world = World::default();
        let first = world.ask(saw(1)).await;
        let same = world.ask(saw(1)).await;
        first.abort();
        settle().await;
        world.answer().await;
        assert_eq!(same.await.unwrap(), got(1, true));
    }

    #[tokio::test]
    async fn a_load_that_nobody_waits_for_ends_and_the_next_begins() {
        let world = World::default();
        let running = world.ask(saw(1)).await;
        let waiting = world.ask(saw(2)).await;
        running.abort();
        settle().await;
        assert_eq!(world.begun(), 2);
        world.answer().await;
        assert_eq!(waiting.await.unwrap(), got(2, false));

        let running = world.ask(saw(1)).await;
        let waiting = world.ask(saw(2)).await;
        let idle = Arc::strong_count(&world.alive);
        waiting.abort();
        running.abort();
        settle().await;
        assert!(Arc::strong_count(&world.alive) < idle, "its future is gone");
        assert_eq!(world.begun(), 3, "nobody needs the next one");
        assert!(lock(&world.flights.0).is_empty());
    }

    #[tokio::test]
    async fn a_load_that_panics_strands_nobody() {
        let flights = Flights::<usize>::default();
        let panics = || async { panic!("a defect") };
        let aboard = flights.board(key(), saw(1), panics);
        assert_eq!(aboard.result().await, None);
        assert!(lock(&flights.0).is_empty());
    }
}
