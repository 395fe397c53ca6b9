//! Hands a value from one request of the instance to another.
//!
//! Each request is a task of the component model, and one that sleeps is woken by the host alone: an
//! ordinary waker, such as a channel's, traps when it is called from another request. So the one who
//! waits reads from a stream in which nothing is ever written, and wakes when its other end is
//! dropped.

use std::{cell::Cell, rc::Rc};

/// Who has promised a value. Its drop keeps nobody waiting: it hands over nothing.
pub(crate) struct Giver<T> {
    value: Rc<Cell<Option<T>>>,
    _end: bell::Rope,
}

/// Who waits for the value.
pub(crate) struct Taker<T> {
    value: Rc<Cell<Option<T>>>,
    end: bell::Ear,
}

/// Two ends, for one value.
pub(crate) fn handover<T>() -> (Giver<T>, Taker<T>) {
    let value = Rc::new(Cell::new(None));
    let (rope, ear) = bell::hang();
    let giver = Giver {
        value: value.clone(),
        _end: rope,
    };
    (giver, Taker { value, end: ear })
}

impl<T> Giver<T> {
    /// Hands the value over; it is lost if nobody waits any more.
    pub(crate) fn give(self, value: T) {
        self.value.set(Some(value));
    }
}

impl<T> Taker<T> {
    /// Waits for the value; `None` if the giver is gone without.
    pub(crate) async fn take(mut self) -> Option<T> {
        bell::listen(&mut self.end).await;
        self.value.take()
    }
}

/// Rings once, when the rope is dropped.
#[cfg(target_family = "wasm")]
mod bell {
    use spin_sdk::{
        wasip3::wit_stream,
        wit_bindgen::{StreamReader, StreamWriter},
    };

    pub(super) type Rope = StreamWriter<u8>;
    pub(super) type Ear = StreamReader<u8>;

    pub(super) fn hang() -> (Rope, Ear) {
        wit_stream::new()
    }

    pub(super) async fn listen(ear: &mut Ear) {
        ear.next().await;
    }
}

/// The same for unit tests, where there is no host.
#[cfg(not(target_family = "wasm"))]
mod bell {
    use futures::channel::oneshot::{Receiver, Sender, channel};

    pub(super) type Rope = Sender<()>;
    pub(super) type Ear = Receiver<()>;

    pub(super) fn hang() -> (Rope, Ear) {
        channel()
    }

    pub(super) async fn listen(ear: &mut Ear) {
        let _ = ear.await;
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    #[test]
    fn a_value_goes_over_once() {
        let (giver, taker) = handover();
        giver.give(7);
        assert_eq!(taker.take().now_or_never(), Some(Some(7)));
    }

    #[test]
    fn nobody_waits_for_a_giver_that_is_gone() {
        let (giver, taker) = handover::<u8>();
        drop(giver);
        assert_eq!(taker.take().now_or_never(), Some(None));

        let (_giver, taker) = handover::<u8>();
        assert_eq!(taker.take().now_or_never(), None);
    }
}
