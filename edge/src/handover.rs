//! Hands a value from one request of the instance to another.
//!
//! The one who waits hears a [bell](crate::bell) when it is there.

use std::{cell::Cell, rc::Rc};

use crate::bell::{self, Ear, Rope};

/// Who has promised a value. Its drop keeps nobody waiting: it hands over nothing.
pub(crate) struct Giver<T> {
    value: Rc<Cell<Option<T>>>,
    _end: Rope,
}

/// Who waits for the value.
pub(crate) struct Taker<T> {
    value: Rc<Cell<Option<T>>>,
    end: Ear,
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
