//! Readers: ask the edge and write down what it says.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header, response::Parts};
use http_body_util::Full;
use tokio::time;

use super::{
    line::Line,
    log::{Outcome, Read, Reason, SharedLog},
    now_us,
    random::{Chance, Zipf},
    workload::Question,
};

/// How long a reader waits after a refusal: who is told to come later does.
const PATIENCE: Duration = Duration::from_millis(20);

/// What all readers and writers of a run share.
#[derive(Debug)]
pub struct Shared {
    /// Every question, the ones that are wanted most first.
    pub questions: Vec<Question>,
    /// The questions' paths.
    pub paths: Vec<String>,
    /// The answers.
    pub log: SharedLog,
    /// How many reads were answered.
    pub reads: AtomicU64,
    /// How many of them were hits, by region.
    pub hits: Vec<AtomicU64>,
    /// The latest `Tidemark-At-Least` that a command has answered, in ms.
    pub at_least: AtomicI64,
    /// Set when it is over.
    pub over: AtomicBool,
}

impl Shared {
    /// At the beginning of a run over so many regions.
    pub fn new(questions: Vec<Question>, regions: usize) -> Arc<Self> {
        Arc::new(Self {
            paths: questions.iter().map(|question| question.path()).collect(),
            questions,
            log: SharedLog::default(),
            reads: AtomicU64::new(0),
            hits: (0..regions).map(|_| AtomicU64::new(0)).collect(),
            at_least: AtomicI64::new(0),
            over: AtomicBool::new(false),
        })
    }

    /// Whether it is over.
    pub fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }
}

/// One reader, with a connection of its own.
#[derive(Debug)]
pub struct Reader {
    shared: Arc<Shared>,
    region: u8,
    line: Line,
    chance: Chance,
    /// The validators that it has, by question.
    validators: HashMap<u16, HeaderValue>,
}

impl Reader {
    /// A reader at the edge of a region.
    pub fn new(shared: Arc<Shared>, region: u8, edge: &str, chance: Chance) -> Self {
        Self {
            shared,
            region,
            line: Line::to(edge),
            chance,
            validators: HashMap::new(),
        }
    }

    /// Reads until it is over.
    pub async fn run(mut self) {
        let zipf = Zipf::over(self.shared.questions.len());
        while !self.shared.is_over() {
            let question = zipf.pick(&mut self.chance);
            let at_least = self.chance.percent(5).then(|| {
                // Handed on by somebody who has written.
                self.shared.at_least.load(Ordering::Relaxed)
            });
            if !self.read(question, at_least).await {
                time::sleep(PATIENCE).await;
            }
        }
    }

    /// Asks one question; false if it was not answered.
    pub async fn read(&mut self, question: usize, at_least: Option<i64>) -> bool {
        let number = u16::try_from(question).unwrap_or(u16::MAX);
        let mut request = self.line.request(Method::GET, &self.shared.paths[question]);
        if let Some(at_least) = at_least {
            request = request.header("tidemark-at-least", at_least);
        }
        if let Some(validator) = self.validators.get(&number)
            && self.chance.percent(40)
        {
            request = request.header(header::IF_NONE_MATCH, validator);
        }
        let Ok(request) = request.body(Full::new(Bytes::new())) else {
            return false;
        };
        let start = now_us();
        let Ok((head, body)) = self.line.send(request).await else {
            self.refused(0);
            return false;
        };
        let end = now_us();
        let asked = Asked {
            question: number,
            start,
            end,
            at_least,
        };
        self.note(&asked, &head, body)
    }

    fn note(&mut self, asked: &Asked, head: &Parts, body: Bytes) -> bool {
        let status = head.status;
        let etag = head.headers.get(header::ETAG);
        let tag = etag.map_or_else(Bytes::new, |etag| Bytes::copy_from_slice(etag.as_bytes()));
        let question = self.shared.questions[usize::from(asked.question)];
        let outcome = Outcome::parse(text(&head.headers, "cache-status"));
        let answer = self.shared.log.with(|log| {
            let answer = match status {
                StatusCode::OK => log.answer(asked.question, &tag, Some(body)),
                StatusCode::NOT_MODIFIED => match log.named(asked.question, &tag) {
                    Some(answer) => answer,
                    None => {
                        log.oddities
                            .push(format!("a 304 names {tag:?}, which nobody has had"));
                        return None;
                    }
                },
                StatusCode::NOT_FOUND if matches!(question, Question::Register(_)) => {
                    log.answer(asked.question, &tag, None)
                }
                StatusCode::BAD_GATEWAY
                | StatusCode::SERVICE_UNAVAILABLE
                | StatusCode::GATEWAY_TIMEOUT => return None,
                _ => {
                    let text = String::from_utf8_lossy(&body);
                    let path = question.path();
                    log.oddities.push(format!("{path}: {status} {text}"));
                    return None;
                }
            };
            let as_of = text(&head.headers, "tidemark-as-of").parse().ok();
            let nameless = outcome == Outcome::Forwarded(Reason::Unknown);
            if nameless || (as_of.is_none() && status != StatusCode::NOT_FOUND) {
                let (path, headers) = (question.path(), &head.headers);
                log.oddities.push(format!("{path}: {status} {headers:?}"));
            }
            log.reads.push(Read {
                start: asked.start,
                end: asked.end,
                as_of,
                at_least: asked.at_least,
                region: self.region,
                question: asked.question,
                answer,
                outcome,
                revalidated: status == StatusCode::NOT_MODIFIED,
            });
            Some(answer)
        });
        if answer.is_none() {
            self.refused(status.as_u16());
            return false;
        }
        if let Some(etag) = etag {
            self.validators.insert(asked.question, etag.clone());
        }
        self.shared.reads.fetch_add(1, Ordering::Relaxed);
        if outcome == Outcome::Hit
            && let Some(hits) = self.shared.hits.get(usize::from(self.region))
        {
            hits.fetch_add(1, Ordering::Relaxed);
        }
        true
    }

    fn refused(&self, status: u16) {
        self.shared
            .log
            .with(|log| *log.refused_reads.entry(status).or_default() += 1);
    }
}

struct Asked {
    question: u16,
    start: i64,
    end: i64,
    at_least: Option<i64>,
}

/// A header field's value; empty where there is none.
pub(super) fn text<'a>(headers: &'a HeaderMap, name: &str) -> &'a str {
    let value = headers.get(name);
    value.and_then(|value| value.to_str().ok()).unwrap_or("")
}
