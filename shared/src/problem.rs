//! What a client is told when something is wrong: `application/problem+json` (RFC 9457).
//!
//! Each kind has a stable `type`. Text from inside (SQL, addresses, drivers) never gets in here:
//! `detail` is either written in this code or speaks of the client's own request.

use std::time::Duration;

use http::StatusCode;
use serde::{Deserialize, Serialize};

use crate::{param::ParamError, route::RouteError};

/// The media type of a problem.
pub const CONTENT_TYPE: &str = "application/problem+json";

/// What each `type` begins with.
const TYPE_PREFIX: &str = "urn:tidemark:problem:";

/// The kinds of problems.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// The request can't be read.
    MalformedRequest,
    /// A parameter is unknown, missing, repeated or not of its type.
    InvalidParameter,
    /// A command's body is no JSON object.
    InvalidBody,
    /// It takes a token, and the request has another one, or none.
    Unauthorized,
    /// It is not for whoever sent the request.
    Forbidden,
    /// No query or command has this path.
    UnknownPath,
    /// The query or command found no row.
    NoRow,
    /// The path does not take this method.
    MethodNotAllowed,
    /// A unique constraint is violated.
    Conflict,
    /// The body is larger than permitted.
    BodyTooLarge,
    /// The path and query string are longer than permitted.
    UriTooLong,
    /// A foreign-key, check, not-null or value constraint is violated.
    Unprocessable,
    /// A defect of the service or of the catalog's SQL; the log says more.
    Internal,
    /// The edge can't reach the origin, or got nonsense from it.
    BadGateway,
    /// The service can't take more at the moment.
    Unavailable,
    /// The origin or the database took too long.
    Timeout,
    /// The client took too long to send its request.
    RequestTimeout,
    /// The database was lost while it committed: the command may have been carried out.
    OutcomeUnknown,
    /// The answer is longer than the service is permitted to send.
    AnswerTooLong,
}

impl Kind {
    /// Every kind, for documentation.
    pub const ALL: [Self; 19] = [
        Self::MalformedRequest,
        Self::InvalidParameter,
        Self::InvalidBody,
        Self::Unauthorized,
        Self::Forbidden,
        Self::UnknownPath,
        Self::NoRow,
        Self::MethodNotAllowed,
        Self::Conflict,
        Self::BodyTooLarge,
        Self::UriTooLong,
        Self::Unprocessable,
        Self::Internal,
        Self::BadGateway,
        Self::Unavailable,
        Self::Timeout,
        Self::RequestTimeout,
        Self::OutcomeUnknown,
        Self::AnswerTooLong,
    ];

    /// Its stable name, the last part of `type`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::MalformedRequest => "malformed-request",
            Self::InvalidParameter => "invalid-parameter",
            Self::InvalidBody => "invalid-body",
            Self::Unauthorized => "unauthorized",
            Self::Forbidden => "forbidden",
            Self::UnknownPath => "unknown-path",
            Self::NoRow => "no-row",
            Self::MethodNotAllowed => "method-not-allowed",
            Self::Conflict => "conflict",
            Self::BodyTooLarge => "body-too-large",
            Self::UriTooLong => "uri-too-long",
            Self::Unprocessable => "unprocessable",
            Self::Internal => "internal",
            Self::BadGateway => "bad-gateway",
            Self::Unavailable => "unavailable",
            Self::Timeout => "timeout",
            Self::RequestTimeout => "request-timeout",
            Self::OutcomeUnknown => "outcome-unknown",
            Self::AnswerTooLong => "answer-too-long",
        }
    }

    /// Its HTTP status.
    pub const fn status(self) -> StatusCode {
        match self {
            Self::MalformedRequest | Self::InvalidParameter | Self::InvalidBody => {
                StatusCode::BAD_REQUEST
            }
            Self::Unauthorized => StatusCode::UNAUTHORIZED,
            Self::Forbidden => StatusCode::FORBIDDEN,
            Self::UnknownPath | Self::NoRow => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::Conflict => StatusCode::CONFLICT,
            Self::BodyTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::UriTooLong => StatusCode::URI_TOO_LONG,
            Self::Unprocessable => StatusCode::UNPROCESSABLE_ENTITY,
            // 502 to 504 are what clients and proxies repeat unasked; a command of unknown outcome
            // must not be repeated unseen.
            Self::Internal | Self::OutcomeUnknown | Self::AnswerTooLong => {
                StatusCode::INTERNAL_SERVER_ERROR
            }
            Self::BadGateway => StatusCode::BAD_GATEWAY,
            Self::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
            Self::Timeout => StatusCode::GATEWAY_TIMEOUT,
            Self::RequestTimeout => StatusCode::REQUEST_TIMEOUT,
        }
    }

    /// After how long a client may try again (`Retry-After`); `None` where trying again is of no use,
    /// or not safe.
    pub const fn retry_after(self) -> Option<Duration> {
        match self {
            Self::Unavailable => Some(Duration::from_secs(1)),
            _ => None,
        }
    }

    /// The kind of a problem's body, as [`Problem::to_json`] writes it.
    pub fn of_json(body: &[u8]) -> Option<Self> {
        #[derive(Deserialize)]
        struct Members {
            r#type: String,
        }
        let members: Members = serde_json::from_slice(body).ok()?;
        let name = members.r#type.strip_prefix(TYPE_PREFIX)?;
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }

    const fn title(self) -> &'static str {
        match self {
            Self::MalformedRequest => "The request can't be read",
            Self::InvalidParameter => "A parameter is wrong",
            Self::InvalidBody => "The body is no JSON object",
            Self::Unauthorized => "It takes a token",
            Self::Forbidden => "Not for you",
            Self::UnknownPath => "Unknown path",
            Self::NoRow => "No such thing",
            Self::MethodNotAllowed => "Method not allowed",
            Self::Conflict => "It exists already",
            Self::BodyTooLarge => "The body is too large",
            Self::UriTooLong => "The request's address is too long",
            Self::Unprocessable => "The data does not allow this",
            Self::Internal => "Internal error",
            Self::BadGateway => "The origin can't be reached",
            Self::Unavailable => "Temporarily unavailable",
            Self::Timeout => "It took too long",
            Self::RequestTimeout => "The request came too slowly",
            Self::OutcomeUnknown => "It is not known whether this was done",
            Self::AnswerTooLong => "The answer is too long",
        }
    }
}

/// A problem to tell a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Its kind.
    pub kind: Kind,
    /// What exactly, in a sentence for the client's developer.
    pub detail: String,
    /// The parameter concerned.
    pub parameter: Option<String>,
    /// The value of the `Allow` header that a 405 must have.
    pub allow: Option<String>,
}

impl Problem {
    /// A problem of this kind.
    pub fn new(kind: Kind, detail: impl Into<String>) -> Self {
        Self {
            kind,
            detail: detail.into(),
            parameter: None,
            allow: None,
        }
    }

    /// The body.
    pub fn to_json(&self) -> String {
        #[derive(Serialize)]
        struct Members<'a> {
            r#type: String,
            title: &'a str,
            status: u16,
            detail: &'a str,
            #[serde(skip_serializing_if = "Option::is_none")]
            parameter: Option<&'a str>,
        }
        let members = Members {
            r#type: format!("{TYPE_PREFIX}{}", self.kind.name()),
            title: self.kind.title(),
            status: self.kind.status().as_u16(),
            detail: &self.detail,
            parameter: self.parameter.as_deref(),
        };
        // Texts and a number always serialize.
        serde_json::to_string(&members).unwrap_or_default()
    }
}

impl From<ParamError> for Problem {
    fn from(error: ParamError) -> Self {
        let kind = match &error {
            ParamError::TargetTooLong => Kind::UriTooLong,
            ParamError::PercentEncoding { .. } | ParamError::NotUtf8 { .. } => {
                Kind::MalformedRequest
            }
            ParamError::Body { .. } => Kind::InvalidBody,
            ParamError::Unknown { .. }
            | ParamError::Repeated { .. }
            | ParamError::Missing { .. }
            | ParamError::Invalid { .. } => Kind::InvalidParameter,
        };
        Self {
            parameter: error.parameter().map(str::to_owned),
            ..Self::new(kind, error.to_string())
        }
    }
}

impl From<RouteError> for Problem {
    fn from(error: RouteError) -> Self {
        let detail = error.to_string();
        match error {
            RouteError::NotFound => Self::new(Kind::UnknownPath, detail),
            RouteError::MethodNotAllowed { allow } => Self {
                allow: Some(allow),
                ..Self::new(Kind::MethodNotAllowed, detail)
            },
            RouteError::Malformed(error) => error.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_body_follows_rfc_9457() {
        let problem = Problem::from(ParamError::Repeated {
            name: "from".into(),
        });
        assert_eq!(
            problem.to_json(),
            r#"{"type":"urn:tidemark:problem:invalid-parameter","title":"A parameter is wrong","status":400,"detail":"parameter \"from\" is given more than once","parameter":"from"}"#
        );
    }

    #[test]
    fn a_bodys_kind_reads_back() {
        for kind in Kind::ALL {
            let body = Problem::new(kind, "why").to_json();
            assert_eq!(Kind::of_json(body.as_bytes()), Some(kind));
        }
        assert_eq!(Kind::of_json(b"<html>"), None);
        assert_eq!(Kind::of_json(br#"{"type":"about:blank"}"#), None);
    }

    #[test]
    fn every_kind_has_a_name_of_its_own() {
        let names: std::collections::BTreeSet<_> =
            Kind::ALL.iter().map(|kind| kind.name()).collect();
        assert_eq!(names.len(), Kind::ALL.len());
    }

    #[test]
    fn only_what_was_certainly_not_done_may_be_tried_again() {
        let again: Vec<_> = Kind::ALL
            .into_iter()
            .filter(|kind| kind.retry_after().is_some())
            .collect();
        assert_eq!(again, [Kind::Unavailable]);
    }
}
