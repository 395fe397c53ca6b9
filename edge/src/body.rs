//! The body of a response, handed to the host piece by piece.
//!
//! On its way out each piece is copied. An instance answers 16 requests at a time, so a long body must not
//! be copied as a whole, least of all for a client that is slow to take it.

use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Frame, SizeHint};

/// How much is handed over at a time, in bytes.
const PIECE: usize = 256 * 1024;

/// What is still to be handed over.
#[derive(Debug, Default)]
pub(crate) struct Body(Bytes);

impl From<Bytes> for Body {
    fn from(bytes: Bytes) -> Self {
        Self(bytes)
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.0.is_empty() {
            return Poll::Ready(None);
        }
        let length = self.0.len().min(PIECE);
        let piece = self.0.split_to(length);
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.0.len() as u64)
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;
    use http_body_util::BodyExt as _;

    use super::*;

    #[test]
    fn a_long_body_comes_in_pieces_and_whole() {
        let whole = Bytes::from(vec![7; 2 * PIECE + 1]);
        let mut body = Body::from(whole.clone());
        let first = body.frame().now_or_never().flatten().unwrap().unwrap();
        assert_eq!(first.data_ref().unwrap().len(), PIECE);
        let rest = body.collect().now_or_never().unwrap().unwrap().to_bytes();
        assert_eq!([first.into_data().unwrap(), rest].concat(), whole);
    }
}
