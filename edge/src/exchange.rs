//! Between the host's resources and plain values: a request on its way in, its answer on its way out.
//!
//! The SDK does this as well, for any component. Each thing that it asks of the host is a call out of
//! WebAssembly; the edge asks for what it reads alone.

use bytes::Bytes;
use http::{HeaderMap, Request, request::Parts};
use spin_sdk::wasip3::{
    http::types::{self, ErrorCode, Fields},
    spawn, wit_future, wit_stream,
};

use crate::respond::Response;

/// How much of a body is handed over at a time, in bytes. On its way out each piece is copied. An instance
/// answers 16 requests at a time, so a long body must not be copied as a whole, least of all for a client
/// that is slow to take it.
const PIECE: usize = 256 * 1024;

/// The head of a request: its method, the path with the query string, and its header fields. The rest
/// of it is of no meaning to the edge, its body included.
pub(crate) fn receive(request: &types::Request) -> Result<Parts, ErrorCode> {
    let target = request.get_path_with_query();
    let mut head = Request::builder()
        .method(request.get_method())
        .uri(target.as_deref().unwrap_or("/"));
    for (name, value) in request.get_headers().copy_all() {
        head = head.header(name, value);
    }
    let head = head.body(()).map_err(internal)?;
    Ok(head.into_parts().0)
}

/// Gives the host an answer. Its body is handed over while it is sent.
pub(crate) fn send(response: Response) -> Result<types::Response, ErrorCode> {
    let (head, body) = response.into_parts();
    let headers = Fields::from_list(&listed(&head.headers)).map_err(internal)?;
    let (mut contents, contents_read) = wit_stream::new();
    let (trailers, trailers_read) = wit_future::new(|| Ok(None));
    let (response, _) = types::Response::new(headers, Some(contents_read), trailers_read);
    let status = head.status.as_u16();
    if response.set_status_code(status).is_err() {
        return Err(internal("not a status"));
    }
    spawn(async move {
        for piece in pieces(body) {
            if !contents.write_all(piece).await.is_empty() {
                // Whoever was to take it is gone.
                break;
            }
        }
        drop(contents);
        let _ = trailers.write(Ok(None)).await;
    });
    Ok(response)
}

fn listed(headers: &HeaderMap) -> Vec<(String, Vec<u8>)> {
    headers
        .iter()
        .map(|(name, value)| (name.as_str().to_owned(), value.as_bytes().to_vec()))
        .collect()
}

fn pieces(mut body: Bytes) -> impl Iterator<Item = Vec<u8>> {
    std::iter::from_fn(move || {
        let length = body.len().min(PIECE);
        (length > 0).then(|| body.split_to(length).into())
    })
}

fn internal(problem: impl ToString) -> ErrorCode {
    ErrorCode::InternalError(Some(problem.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_body_comes_in_pieces_and_whole() {
        let whole = Bytes::from(vec![7; 2 * PIECE + 1]);
        let pieces: Vec<_> = pieces(whole.clone()).collect();
        let lengths: Vec<_> = pieces.iter().map(Vec::len).collect();
        assert_eq!(lengths, [PIECE, PIECE, 1]);
        assert_eq!(pieces.concat(), whole);
    }
}
