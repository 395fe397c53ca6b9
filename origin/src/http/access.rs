//! Who may use what is for operators: `/console/` and `/admin/`.

use std::net::{IpAddr, SocketAddr};

use axum::{
    extract::{Request, State},
    http::{HeaderMap, header, uri::Authority},
    middleware::Next,
    response::{IntoResponse as _, Response},
};
use axum_extra::headers::{
    Authorization, HeaderMapExt as _,
    authorization::{Basic, Bearer},
};
use tidemark_shared::{
    digest::Digest,
    problem::{Kind, Problem},
};

use super::failure::Failure;

/// Who may.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    /// Whoever is on this machine: there is no other way to where the origin listens.
    Local,
    /// Whoever has the token with this digest.
    Token(Digest),
    /// Nobody.
    Off,
}

impl Access {
    /// With a token, whoever has it; without one, those on this machine, if nobody else can connect.
    pub(crate) fn new(listen: SocketAddr, token: Option<&str>) -> Self {
        match token {
            Some(token) => Self::Token(Digest::of(token.as_bytes())),
            None if listen.ip().is_loopback() => Self::Local,
            None => Self::Off,
        }
    }

    fn check(self, headers: &HeaderMap) -> Result<(), Problem> {
        match self {
            Self::Local if names_this_machine(headers) => Ok(()),
            Self::Local => Err(Problem::new(
                Kind::Forbidden,
                "call it localhost: it is for this machine only, as long as the origin has no --admin-token",
            )),
            // Digests are compared: how long that takes tells nothing of the token.
            Self::Token(token) if sent_token(headers) == Some(token) => Ok(()),
            Self::Token(_) => Err(Problem::new(
                Kind::Unauthorized,
                "it takes the origin's --admin-token, as the password or as a bearer token",
            )),
            Self::Off => Err(Problem::new(
                Kind::UnknownPath,
                "there is none, unless the origin has an --admin-token",
            )),
        }
    }
}

/// Lets through whoever may.
pub(super) async fn guard(State(access): State<Access>, request: Request, next: Next) -> Response {
    match access.check(request.headers()) {
        Ok(()) => next.run(request).await,
        Err(problem) => Failure::from(problem).into_response(),
    }
}

/// Whether a request is addressed to this machine by a name that means nothing else. Otherwise a page from
/// elsewhere, whose name leads to 127.0.0.1 by now (DNS rebinding), could read what it likes.
fn names_this_machine(headers: &HeaderMap) -> bool {
    let host = headers.get(header::HOST).and_then(|it| it.to_str().ok());
    let Some(authority) = host.and_then(|host| host.parse::<Authority>().ok()) else {
        return false;
    };
    let host = authority
        .host()
        .trim_start_matches('[')
        .trim_end_matches(']');
    let is_loopback = |address: IpAddr| address.is_loopback();
    host.eq_ignore_ascii_case("localhost") || host.parse().is_ok_and(is_loopback)
}

/// Browsers know Basic, with any user name (RFC 7617); scripts rather use Bearer (RFC 6750).
fn sent_token(headers: &HeaderMap) -> Option<Digest> {
    let bearer = || headers.typed_get::<Authorization<Bearer>>();
    let basic = || headers.typed_get::<Authorization<Basic>>();
    let of_bearer = bearer().map(|it| Digest::of(it.token().as_bytes()));
    of_bearer.or_else(|| basic().map(|it| Digest::of(it.password().as_bytes())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: header::HeaderName, value: &str) -> HeaderMap {
        HeaderMap::from_iter([(name, value.parse().unwrap())])
    }

    #[test]
    fn without_a_token_it_is_for_this_machine_or_for_nobody() {
        for (listen, expected) in [
            ("127.0.0.1:3001", Access::Local),
            ("[::1]:3001", Access::Local),
            ("0.0.0.0:3001", Access::Off),
            ("10.0.0.1:3001", Access::Off),
        ] {
            assert_eq!(
                Access::new(listen.parse().unwrap(), None),
                expected,
                "{listen}"
            );
        }
    }

    #[test]
    fn a_name_that_leads_here_is_not_enough() {
        for (host, is_ours) in [
            ("localhost:3001", true),
            ("LOCALHOST", true),
            ("127.0.0.1:3001", true),
            ("[::1]:3001", true),
            ("evil.example:3001", false),
            ("localhost.evil.example", false),
            ("127.0.0.1.evil.example", false),
            ("evil@localhost:1", true),
            ("", false),
        ] {
            let allowed = Access::Local.check(&headers(header::HOST, host));
            assert_eq!(allowed.is_ok(), is_ours, "{host}");
        }
        assert!(Access::Local.check(&HeaderMap::new()).is_err());
    }

    #[test]
    fn a_token_is_a_password_or_a_bearer_token() {
        let access = Access::new("0.0.0.0:1".parse().unwrap(), Some("secret"));
        for (sent, may) in [
            ("Bearer secret", true),
            ("Bearer secret2", false),
            // Base64 of `me:secret`, `:secret` and `secret:`.
            ("Basic bWU6c2VjcmV0", true),
            ("Basic OnNlY3JldA==", true),
            ("Basic c2VjcmV0Og==", false),
            ("secret", false),
        ] {
            let allowed = access.check(&headers(header::AUTHORIZATION, sent));
            assert_eq!(allowed.is_ok(), may, "{sent}");
        }
        let refused = access
            .check(&headers(header::HOST, "localhost"))
            .unwrap_err();
        assert_eq!(refused.kind, Kind::Unauthorized);
    }
}
