//! A Redis: one register for each key, each step atomic.

use crate::decisions::{Cached, Mark, Seen, Stamps, Token};

/// What it holds, and which life of which server it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Redis {
    pub(crate) mark: Option<Mark>,
    pub(crate) stamps: Stamps,
    pub(crate) entry: Option<Cached>,
    pub(crate) life: u8,
}

/// A key that can be lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Name {
    Tidemark,
    Stamp(u8),
    Entry,
}

impl Redis {
    pub(crate) const fn empty(scopes: u8) -> Self {
        Self {
            mark: None,
            stamps: Stamps::none(scopes),
            entry: None,
            life: 0,
        }
    }

    /// `MGET`.
    pub(crate) const fn seen(&self) -> Seen {
        Seen {
            mark: self.mark,
            stamps: self.stamps,
        }
    }

    pub(crate) fn holds(&self, name: Name) -> bool {
        match name {
            Name::Tidemark => self.mark.is_some(),
            Name::Stamp(place) => self.stamps.slice()[usize::from(place)].is_some(),
            Name::Entry => self.entry.is_some(),
        }
    }

    pub(crate) fn evict(&mut self, name: Name) {
        match name {
            Name::Tidemark => self.mark = None,
            Name::Stamp(place) => self.stamps.slice_mut()[usize::from(place)] = None,
            Name::Entry => self.entry = None,
        }
    }

    /// Falls back to what a copy held; `life` is what the server says that it is now.
    pub(crate) const fn fall_back(&mut self, copy: Self, life: u8) {
        *self = Self { life, ..copy };
    }

    /// `SET` of new stamps for the scopes at these places.
    pub(crate) fn stamp(&mut self, scopes: u8, mut mint: impl FnMut() -> Token) {
        for (place, token) in self.stamps.slice_mut().iter_mut().enumerate() {
            if scopes >> place & 1 == 1 {
                *token = Some(mint());
            }
        }
    }

    /// `SET … NX` of new stamps for the scopes at these places.
    pub(crate) fn stamp_missing(&mut self, scopes: u8, mint: impl FnMut() -> Token) {
        let missing = self.stamps.slice().iter().enumerate();
        let missing = missing
            .filter(|(_, token)| token.is_none())
            .fold(0, |places, (place, _)| places | 1 << place);
        self.stamp(scopes & missing, mint);
    }
}
