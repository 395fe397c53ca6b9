//! What has been heard so far: all that a frame is made of.

use std::collections::VecDeque;

use super::{
    stream::{Heard, News},
    verdict::{self, Verdict},
};
use crate::live::message::{Figures, Hello, Message};

/// How many figures are remembered: one a second, so more than the widest terminal shows.
const HISTORY: usize = 600;

/// How many messages of what happened are remembered.
const NEWS: usize = 200;

/// What has been heard of an origin.
#[derive(Clone, Debug)]
pub struct View {
    pub(super) origin: String,
    pub(super) lost: Option<Lost>,
    pub(super) hello: Option<Hello>,
    pub(super) figures: Option<Figures>,
    /// The latest first.
    pub(super) history: VecDeque<Moment>,
    /// What happened, the latest first: all messages but those that have a place of their own.
    pub(super) news: VecDeque<Message>,
    /// Whether changes are heard of, if the origin has said so.
    pub(super) feed_up: Option<bool>,
    /// Why a message could not be read.
    pub(super) illegible: Option<String>,
}

/// A connection that is lost.
#[derive(Clone, Debug)]
pub(super) struct Lost {
    /// In ms since the Unix epoch.
    pub(super) since: i64,
    pub(super) why: String,
}

/// What is drawn over time.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moment {
    pub(super) answers_per_s: f64,
    pub(super) hit_ratio: Option<f64>,
    pub(super) sql_per_s: f64,
    pub(super) without_per_s: f64,
}

impl View {
    /// Of the origin that is called so; nothing has been heard yet.
    #[must_use]
    pub fn of(origin: String) -> Self {
        Self {
            origin,
            lost: None,
            hello: None,
            figures: None,
            history: VecDeque::new(),
            news: VecDeque::new(),
            feed_up: None,
            illegible: None,
        }
    }

    /// Something has come of listening, at this time in ms since the Unix epoch.
    pub fn learn(&mut self, news: News, now_ms: i64) {
        match news {
            News::Heard(heard) => self.hear(heard),
            News::Lost(why) => {
                let since = self.lost.as_ref().map_or(now_ms, |lost| lost.since);
                let why = why.to_string();
                self.lost = Some(Lost { since, why });
            }
            News::Found => self.lost = None,
        }
    }

    /// What another version says, and this one can't read, is noted.
    fn hear(&mut self, heard: Heard) {
        match heard.read() {
            Ok(Message::Hello(hello)) => {
                // Another origin may have come to this address.
                self.hello = Some(hello);
                self.illegible = None;
            }
            Ok(Message::Figures(figures)) => {
                push(&mut self.history, Moment::of(&figures), HISTORY);
                self.figures = Some(*figures);
            }
            Ok(Message::Feed(feed)) => {
                // What all is well with at first is no news.
                let is_news = self.feed_up.is_some() || !feed.up;
                if is_news && self.feed_up != Some(feed.up) {
                    push(&mut self.news, Message::Feed(feed.clone()), NEWS);
                }
                self.feed_up = Some(feed.up);
            }
            Ok(news) => push(&mut self.news, news, NEWS),
            Err(error) => self.illegible = Some(error.to_string()),
        }
    }

    pub(super) fn verdict(&self) -> Verdict {
        verdict::of(self)
    }
}

impl Moment {
    fn of(figures: &Figures) -> Self {
        Self {
            answers_per_s: figures.edge.per_s,
            hit_ratio: figures.hit_ratio,
            sql_per_s: figures.sql.ran.per_s,
            without_per_s: figures.sql.without_per_s,
        }
    }
}

/// Puts the latest before all others, of which there are at most so many.
fn push<T>(queue: &mut VecDeque<T>, latest: T, most: usize) {
    queue.truncate(most - 1);
    queue.push_front(latest);
}
