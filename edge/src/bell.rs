//! Wakes a request of the instance from another one, or from what one has left running.
//!
//! Each request is a task of the component model, and one that sleeps is woken by the host alone: an
//! ordinary waker, such as a channel's, traps when it is called from another request. So the one who
//! waits reads from a stream in which nothing is ever written, and wakes when its other end is
//! dropped.

pub(crate) use imp::{Ear, Rope, hang, listen};

/// Rings once, when the rope is dropped.
#[cfg(target_family = "wasm")]
mod imp {
    use spin_sdk::{
        wasip3::wit_stream,
        wit_bindgen::{StreamReader, StreamWriter},
    };

    pub(crate) type Rope = StreamWriter<u8>;
    pub(crate) type Ear = StreamReader<u8>;

    pub(crate) fn hang() -> (Rope, Ear) {
        wit_stream::new()
    }

    pub(crate) async fn listen(ear: &mut Ear) {
        ear.next().await;
    }
}

/// The same for unit tests, where there is no host.
#[cfg(not(target_family = "wasm"))]
mod imp {
    use futures::channel::oneshot::{Receiver, Sender, channel};

    pub(crate) type Rope = Sender<()>;
    pub(crate) type Ear = Receiver<()>;

    pub(crate) fn hang() -> (Rope, Ear) {
        channel()
    }

    pub(crate) async fn listen(ear: &mut Ear) {
        let _ = ear.await;
    }
}
