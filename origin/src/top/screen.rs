//! One frame: what has been heard, on a screen of any size. 80 × 24 shows everything.

use ratatui::{
    Frame,
    layout::{Alignment, Constraint, Layout, Rect},
    style::{Color, Modifier, Style},
    text::{Line, Span},
    widgets::{Cell, Paragraph, RenderDirection, Row, Sparkline, SparklineBar, Table},
};

use super::{
    number::{bytes, clock, percent, rate, time, times},
    verdict::{Health, millis},
    view::{Moment, View},
};
use crate::live::message::{Change, Figures, Message, QueryFigures, RegionFigures};

/// What a figure is called.
const LABEL: Style = Style::new().fg(Color::DarkGray);

/// The head of a part.
const HEAD: Style = Style::new().fg(Color::Cyan).add_modifier(Modifier::BOLD);

/// A figure to look at.
const FIGURE: Style = Style::new().add_modifier(Modifier::BOLD);

/// Draws everything.
pub fn draw(frame: &mut Frame<'_>, view: &View) {
    let area = frame.area();
    // Bars grow with the screen, and leave most of it to the tables.
    let bars = (area.height / 12).clamp(2, 6);
    let [head, verdict, numbers, outcomes, history, rest] = Layout::vertical([
        Constraint::Length(1),
        Constraint::Length(1),
        Constraint::Length(2),
        Constraint::Length(1),
        Constraint::Length(1 + bars),
        Constraint::Fill(1),
    ])
    .areas(area);
    draw_head(frame, head, view);
    draw_verdict(frame, verdict, view);
    draw_history(frame, history, view);
    let Some(figures) = &view.figures else {
        return draw_news(frame, rest, view);
    };
    draw_numbers(frame, numbers, figures);
    draw_outcomes(frame, outcomes, figures);
    let rows = figures.queries.len().max(2 * figures.regions.len()) + 1;
    let rows = u16::try_from(rows).unwrap_or(u16::MAX);
    let [tables, feed] = Layout::vertical([
        Constraint::Length(rows.min(rest.height / 2)),
        Constraint::Fill(1),
    ])
    .areas(rest);
    let columns = Layout::horizontal([Constraint::Percentage(56), Constraint::Fill(1)]).spacing(2);
    let [queries, regions] = columns.areas(tables);
    draw_queries(frame, queries, &figures.queries);
    draw_regions(frame, regions, &figures.regions);
    let columns = Layout::horizontal([Constraint::Percentage(64), Constraint::Fill(1)]).spacing(2);
    let [news, hot] = columns.areas(feed);
    draw_news(frame, news, view);
    draw_hot(frame, hot, figures);
}

fn draw_head(frame: &mut Frame<'_>, area: Rect, view: &View) {
    let mut head = vec![Span::styled("Tidemark", HEAD)];
    if let Some(hello) = &view.hello {
        head.push(Span::styled(format!(" {}", hello.version), LABEL));
    }
    head.push(Span::raw(format!("  {}", view.origin)));
    if let Some(figures) = &view.figures {
        head.push(Span::styled(format!("  {} UTC", clock(figures.at)), LABEL));
        if figures.relay.leads {
            head.push(Span::raw("  its relay leads"));
        }
    }
    frame.render_widget(Line::from(head), area);
    let keys = Line::styled("q ends", LABEL).alignment(Alignment::Right);
    let [_, keys_area] =
        Layout::horizontal([Constraint::Fill(1), Constraint::Length(6)]).areas(area);
    frame.render_widget(keys, keys_area);
}

fn draw_verdict(frame: &mut Frame<'_>, area: Rect, view: &View) {
    let verdict = view.verdict();
    // Never by colour alone: the words say it too.
    let style = match verdict.health {
        Health::Unknown => LABEL,
        Health::Well => Style::new().fg(Color::Green),
        Health::Warning => Style::new().fg(Color::Yellow),
        Health::Broken => Style::new().fg(Color::Red).add_modifier(Modifier::BOLD),
    };
    frame.render_widget(Line::styled(verdict.text, style), area);
}

fn draw_numbers(frame: &mut Frame<'_>, area: Rect, figures: &Figures) {
    let Figures {
        edge,
        origin,
        sql,
        gate,
        ..
    } = figures;
    let numbers = [
        ("answers/s", rate(edge.per_s)),
        ("hits", percent(figures.hit_ratio)),
        ("edge p50/p99", times(edge.p50_ms, edge.p99_ms)),
        ("origin p50/p99", times(origin.p50_ms, origin.p99_ms)),
        ("SQL p50/p99", times(sql.ran.p50_ms, sql.ran.p99_ms)),
        ("run+wait", format!("{}+{}", gate.running, gate.waiting)),
    ];
    let widths = [10, 8, 17, 17, 17, 11].map(Constraint::Fill);
    let areas: [Rect; 6] = Layout::horizontal(widths).areas(area);
    for ((label, number), area) in numbers.into_iter().zip(areas) {
        let lines = vec![Line::styled(number, FIGURE), Line::styled(label, LABEL)];
        frame.render_widget(Paragraph::new(lines), area);
    }
}

fn draw_outcomes(frame: &mut Frame<'_>, area: Rect, figures: &Figures) {
    let mut answers: Vec<_> = figures.answers.iter().collect();
    answers.sort_by(|(_, one), (_, other)| other.total_cmp(one));
    let mut outcomes = Vec::new();
    for (outcome, per_s) in answers {
        outcomes.push(Span::raw(rate(*per_s)));
        outcomes.push(Span::styled(format!(" {outcome}   "), LABEL));
    }
    if outcomes.is_empty() {
        outcomes.push(Span::styled("the edges answer nothing", LABEL));
    }
    frame.render_widget(Line::from(outcomes), area);
}

fn draw_history(frame: &mut Frame<'_>, area: Rect, view: &View) {
    let columns = Layout::horizontal([Constraint::Fill(1); 3]).spacing(2);
    let [answers, ratio, sql] = columns.areas(area);
    let latest = view.history.front();
    let title = |name: &'static str, latest: Option<String>| {
        let latest = latest.map(|latest| Span::styled(format!(" {latest}"), FIGURE));
        let name = Span::styled(name, LABEL);
        Line::from_iter(std::iter::once(name).chain(latest))
    };

    let bars = draw_title(
        frame,
        answers,
        title("answers/s", latest.map(|it| rate(it.answers_per_s))),
    );
    let most = most(view, |it| it.answers_per_s);
    draw_bars(frame, bars, view, Color::Green, most, |it| {
        Some(it.answers_per_s)
    });

    let bars = draw_title(
        frame,
        ratio,
        title("hits", latest.map(|it| percent(it.hit_ratio))),
    );
    draw_bars(frame, bars, view, Color::Cyan, 1.0, |it| it.hit_ratio);

    let pair = |it: &Moment| {
        let (ran, without) = (rate(it.sql_per_s), rate(it.without_per_s));
        format!("{ran}, uncached {without}")
    };
    let bars = draw_title(frame, sql, title("SQL/s", latest.map(pair)));
    // Both on one scale, one above the other.
    let [above, below] = Layout::vertical([Constraint::Fill(1); 2]).areas(bars);
    let most = self::most(view, |it| it.without_per_s.max(it.sql_per_s));
    draw_bars(frame, above, view, Color::DarkGray, most, |it| {
        Some(it.without_per_s)
    });
    draw_bars(frame, below, view, Color::Magenta, most, |it| {
        Some(it.sql_per_s)
    });
}

/// Draws the title of a part, and gives what is left of it.
fn draw_title(frame: &mut Frame<'_>, area: Rect, title: Line<'_>) -> Rect {
    let [head, rest] = Layout::vertical([Constraint::Length(1), Constraint::Fill(1)]).areas(area);
    frame.render_widget(title, head);
    rest
}

/// The highest of all that is remembered.
fn most(view: &View, figure: impl Fn(&Moment) -> f64) -> f64 {
    view.history.iter().map(figure).fold(0.0, f64::max)
}

/// Draws figures over time, of which the highest may be `most`; the latest is at the right.
fn draw_bars(
    frame: &mut Frame<'_>,
    area: Rect,
    view: &View,
    color: Color,
    most: f64,
    figure: impl Fn(&Moment) -> Option<f64>,
) {
    let bars = view.history.iter().take(usize::from(area.width));
    // What is little is more than nothing.
    let least = FULL_HEIGHT / (8 * u64::from(area.height.max(1))) + 1;
    let bars = bars.map(|moment| {
        let height = figure(moment).map(|it| height(it, most));
        SparklineBar::from(height.map(|height| match height {
            0 => 0,
            height => height.max(least),
        }))
    });
    let sparkline = Sparkline::default()
        .data(bars)
        .max(FULL_HEIGHT)
        .direction(RenderDirection::RightToLeft)
        .absent_value_symbol(" ")
        .style(Style::new().fg(color));
    frame.render_widget(sparkline, area);
}

/// The height of a bar that fills its part of the screen: finer than any terminal shows.
const FULL_HEIGHT: u64 = 10_000;

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss
)]
fn height(figure: f64, most: f64) -> u64 {
    let part = if most > 0.0 { figure / most } else { 0.0 };
    (part.clamp(0.0, 1.0) * FULL_HEIGHT as f64) as u64
}

fn draw_queries(frame: &mut Frame<'_>, area: Rect, queries: &[QueryFigures]) {
    let right = |text: String| Cell::new(Line::from(text).alignment(Alignment::Right));
    let rows = queries.iter().map(|query| {
        Row::new([
            Cell::new(query.name.as_str()),
            right(rate(query.answers.per_s)),
            right(percent(query.hit_ratio)),
            right(time(query.answers.p50_ms)),
            right(time(query.answers.p99_ms)),
        ])
    });
    let head = ["answers/s", "hits", "p50", "p99"].map(|head| right(head.to_owned()));
    let head = Row::new(std::iter::once(Cell::new("QUERY")).chain(head)).style(HEAD);
    let widths = [
        Constraint::Fill(1),
        Constraint::Length(9),
        Constraint::Length(6),
        Constraint::Length(6),
        Constraint::Length(6),
    ];
    frame.render_widget(Table::new(rows, widths).header(head), area);
}

fn draw_regions(frame: &mut Frame<'_>, area: Rect, regions: &[RegionFigures]) {
    let mut lines = vec![Line::styled("REGION", HEAD)];
    for region in regions {
        lines.push(Line::raw(region.name.as_str()));
        lines.push(match region.up {
            true => Line::from(region_figures(region)),
            false => Line::styled(
                "  Redis does not answer",
                Style::new().fg(Color::Red).add_modifier(Modifier::BOLD),
            ),
        });
    }
    frame.render_widget(Paragraph::new(lines), area);
}

fn region_figures(region: &RegionFigures) -> Vec<Span<'static>> {
    let age = match region.age_ms {
        Some(age_ms) => format!("{} old", time(Some(millis(age_ms)))),
        None => "no tidemark".to_owned(),
    };
    let mut spans = vec![Span::raw(format!("  {age}"))];
    if let Some(used) = region.used_memory {
        let most = region.max_memory.filter(|most| *most > 0.0);
        let most = most.map_or(String::new(), |most| format!("/{}", bytes(most)));
        spans.push(Span::raw(format!("  {}{most}", bytes(used))));
    }
    if let Some(evicted) = region.evicted_per_s.filter(|it| *it > 0.0) {
        spans.push(Span::styled(
            format!("  evicts {}/s", rate(evicted)),
            Style::new().fg(Color::Yellow),
        ));
    }
    spans
}

fn draw_news(frame: &mut Frame<'_>, area: Rect, view: &View) {
    let mut head = vec![Span::styled("CHANGES", HEAD)];
    if let Some(Figures { relay, .. }) = &view.figures
        && relay.applied_p99_ms.is_some()
    {
        let applied = times(relay.applied_p50_ms, relay.applied_p99_ms);
        head.push(Span::styled(format!("  applied in {applied}"), LABEL));
    }
    let news = view.news.iter().take(usize::from(area.height)).map(news);
    let lines: Vec<_> = std::iter::once(Line::from(head)).chain(news).collect();
    frame.render_widget(Paragraph::new(lines), area);
}

fn news(message: &Message) -> Line<'static> {
    let (at, text) = match message {
        Message::Change(change) => return changed(change),
        Message::Epoch(new) => (
            new.at,
            format!("all is invalid: epoch {} begins", new.epoch),
        ),
        Message::Keys(forgotten) => {
            let (expired, evicted) = (forgotten.expired, forgotten.evicted);
            let names = forgotten.names.join(" ");
            let text = match evicted {
                0 => format!("{expired} expired: {names}"),
                evicted => format!("{evicted} evicted, {expired} expired: {names}"),
            };
            (forgotten.at, text)
        }
        Message::Feed(feed) => {
            let text = match feed.up {
                true => "what changes is heard again",
                false => "what changes can't be heard",
            };
            (feed.at, text.to_owned())
        }
        Message::Hello(_) | Message::Figures(_) => return Line::default(),
    };
    Line::from(vec![
        Span::styled(clock(at), LABEL),
        Span::styled(format!(" {text}"), Style::new().fg(Color::Yellow)),
    ])
}

fn changed(change: &Change) -> Line<'static> {
    let mut scopes = change.scopes.join(" ");
    if change.more > 0 {
        scopes = format!("{scopes} and {} more", change.more);
    }
    let queries = match change.queries.as_slice() {
        [] => "no query".to_owned(),
        queries => queries.join(", "),
    };
    let applied = time(change.applied_ms.map(millis));
    Line::from(vec![
        Span::styled(clock(change.at), LABEL),
        Span::raw(format!(" {applied:>6} ")),
        Span::raw(scopes),
        Span::styled(format!(" → {queries}"), LABEL),
    ])
}

fn draw_hot(frame: &mut Frame<'_>, area: Rect, figures: &Figures) {
    let mut lines = vec![Line::styled("HOTTEST", HEAD)];
    for hot in &figures.hot {
        lines.push(Line::from(vec![
            Span::styled(format!("{:>3.0} % ", 100.0 * hot.share), LABEL),
            Span::raw(hot.request.as_str()),
        ]));
    }
    frame.render_widget(Paragraph::new(lines), area);
}

#[cfg(test)]
mod tests {
    use ratatui::{Terminal, backend::TestBackend};

    use super::*;
    use crate::top::stream::{Heard, News, StreamError};

    /// What `top --json` printed of the demo, while its Redis was emptied, an entry expired and two
    /// transactions committed.
    const RECORDED: &str = include_str!("recorded.jsonl");

    /// 15:20:03 on that day.
    const LOST_AT: i64 = 1_795_447_203_000;

    fn recorded() -> Vec<Heard> {
        let lines = RECORDED.lines();
        lines
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }

    fn view() -> View {
        let mut view = View::of("http://127.0.0.1:3001".to_owned());
        for heard in recorded() {
            view.learn(News::Heard(heard), 0);
        }
        view
    }

    /// The view with its last figures changed.
    fn with(change: impl FnOnce(&mut Figures)) -> View {
        let mut view = view();
        change(view.figures.as_mut().unwrap());
        view
    }

    /// The lines of a screen.
    fn screen(view: &View, columns: u16, rows: u16) -> Vec<String> {
        let mut terminal = Terminal::new(TestBackend::new(columns, rows)).unwrap();
        terminal.draw(|frame| draw(frame, view)).unwrap();
        let cells = terminal.backend().buffer().content();
        let lines = cells.chunks(usize::from(columns.max(1)));
        let text = |line: &[ratatui::buffer::Cell]| -> String {
            line.iter().map(ratatui::buffer::Cell::symbol).collect()
        };
        lines.map(|line| text(line).trim_end().to_owned()).collect()
    }

    #[test]
    fn eighty_by_twenty_four_shows_everything() {
        let screen = screen(&view(), 80, 24);
        let expected: Vec<_> = include_str!("recorded.txt").lines().collect();
        assert_eq!(screen, expected, "\n{}", screen.join("\n"));
    }

    #[test]
    fn any_size_is_drawn() {
        let view = view();
        for (columns, rows) in [(1, 1), (10, 3), (40, 12), (80, 24), (200, 60), (500, 200)] {
            assert_eq!(screen(&view, columns, rows).len(), usize::from(rows));
        }
        let wide = screen(&view, 160, 48).join("\n");
        assert!(
            wide.contains("/org/44/dashboard?from=2025-01-01&region=all&to"),
            "{wide}"
        );
    }

    #[test]
    fn the_second_line_is_the_verdict() {
        let verdict = |view: &View| screen(view, 200, 24).swap_remove(1);
        let nothing = View::of("http://127.0.0.1:3001".to_owned());
        assert!(verdict(&nothing).contains("the first figures are on their way"));
        assert_eq!(verdict(&view()), "all is well");

        let region = "127.0.0.1:25623/0 tm:tidemark";
        let dead = with(|figures| figures.regions[0].up = false);
        assert_eq!(verdict(&dead), format!("{region}: Redis does not answer"));
        let unproven = with(|figures| figures.regions[0].age_ms = None);
        assert!(verdict(&unproven).contains("no tidemark"));
        let old = with(|figures| figures.regions[0].age_ms = Some(1_001));
        assert_eq!(
            verdict(&old),
            format!("{region}: the tidemark is 1.0 s old, more than promised")
        );
        let full = with(|figures| figures.regions[0].used_memory = Some(250e6));
        assert_eq!(
            verdict(&full),
            format!("{region}: 238 MiB of 256 MiB memory")
        );
        // The worst first.
        let several = with(|figures| {
            figures.hit_ratio = Some(0.5);
            figures.gate.shed_per_s = 2.0;
        });
        assert_eq!(
            verdict(&several),
            "2.0 queries a second are refused: too many run; only 50.0 % of what may be cached comes from the cache"
        );

        let mut lost = view();
        lost.learn(News::Lost(StreamError::Ended), LOST_AT);
        lost.learn(News::Lost(StreamError::NoConsole), LOST_AT + 1_000);
        assert!(verdict(&lost).starts_with("disconnected since 15:20:03 UTC: it has no console"));
        lost.learn(News::Found, LOST_AT + 2_000);
        assert_eq!(verdict(&lost), "all is well");
    }

    #[test]
    fn what_another_version_says_is_noted_and_ends_nothing() {
        let mut view = view();
        let unknown = serde_json::from_str(r#"{"event":"weather","sunny":true}"#).unwrap();
        view.learn(News::Heard(unknown), 0);
        let screen = screen(&view, 80, 24);
        assert!(
            screen[1].starts_with("a message can't be read"),
            "{screen:?}"
        );
        assert!(screen.join("\n").contains("dashboard"));
    }

    #[test]
    fn whether_changes_are_heard_is_news_once() {
        let mut view = view();
        let feed = |up| serde_json::from_str(&format!(r#"{{"event":"feed","at":0,"up":{up}}}"#));
        for up in [true, false, false, true] {
            view.learn(News::Heard(feed(up).unwrap()), 0);
        }
        let text = screen(&view, 80, 24).join("\n");
        assert_eq!(
            text.matches("what changes can't be heard").count(),
            1,
            "{text}"
        );
        assert_eq!(
            text.matches("what changes is heard again").count(),
            1,
            "{text}"
        );
    }

    #[test]
    fn what_is_shown_moves_no_cursor_and_sets_no_colour() {
        let view = with(|figures| figures.hot[0].request = "/\u{1b}[31m\u{7}\n".to_owned());
        let text = screen(&view, 80, 24).join("\n");
        assert!(
            !text.contains('\u{1b}') && !text.contains('\u{7}'),
            "{text:?}"
        );
    }
}
