//! Where the origin listens, as the operator configures it.

use http::{
    Uri,
    uri::{Authority, Scheme},
};

/// `scheme://host[:port]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct OriginAddress {
    pub(crate) scheme: Scheme,
    pub(crate) authority: Authority,
}

impl OriginAddress {
    /// Reads an address; `None` where it is none, or says more. A path is refused because
    /// `allowed_outbound_hosts`, which has the same value, can't hold one.
    pub(crate) fn parse(url: &str) -> Option<Self> {
        let uri: Uri = url.trim().parse().ok()?;
        let (scheme, authority) = uri.scheme().zip(uri.authority())?;
        let plain = uri.path() == "/" && uri.query().is_none();
        let known = *scheme == Scheme::HTTP || *scheme == Scheme::HTTPS;
        let anonymous = !authority.as_str().contains('@');
        (plain && known && anonymous).then(|| Self {
            scheme: scheme.clone(),
            authority: authority.clone(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_a_scheme_and_a_place() {
        for (url, expected) in [
            ("http://127.0.0.1:3001", Some("127.0.0.1:3001")),
            ("http://127.0.0.1:3001/", Some("127.0.0.1:3001")),
            ("https://origin.example.com", Some("origin.example.com")),
            ("http://[::1]:3001", Some("[::1]:3001")),
            ("http://origin/base", None),
            ("http://origin/?a=b", None),
            ("http://user:secret@origin", None),
            ("ftp://origin", None),
            ("origin:3001", None),
            ("", None),
        ] {
            let authority = OriginAddress::parse(url).map(|it| it.authority);
            assert_eq!(authority.as_ref().map(Authority::as_str), expected, "{url}");
        }
    }
}
