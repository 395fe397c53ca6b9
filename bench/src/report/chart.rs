//! Plots: lines over an axis, with the spread of each point, as SVG.

use anyhow::{Context as _, ensure};
use plotters::{
    coord::{
        ranged1d::{KeyPointHint, NoDefaultFormatting, Ranged, ValueFormatter},
        types::RangedCoordf64,
    },
    prelude::*,
};

use super::number;
use crate::statistics::Spread;

/// The width of all plots, in pixels.
pub const WIDTH: u32 = 880;
const HEIGHT: u32 = 420;
/// The part of the width that is the legend's.
const LEGEND: u32 = 310;

/// Colours that people with any kind of colour vision tell apart (Okabe and Ito).
const COLOURS: [RGBColor; 8] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(86, 180, 233),
    RGBColor(230, 159, 0),
    RGBColor(90, 90, 90),
    RGBColor(150, 120, 60),
];

/// The lines' colours, and those inside of their points: hollow ones where the colours begin again.
fn looks() -> impl Iterator<Item = (RGBColor, RGBColor)> {
    let filled = COLOURS.into_iter().map(|colour| (colour, colour));
    filled.chain(COLOURS.into_iter().map(|colour| (colour, WHITE)).cycle())
}

/// How a place of the first axis is written.
type PlaceText = fn(f64) -> String;

/// How an axis is divided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scale {
    /// Evenly, from zero.
    Linear,
    /// By factors.
    Log,
}

/// What is drawn at one place of the first axis.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Point {
    /// Where.
    pub x: f64,
    /// How high.
    pub y: Spread,
}

/// One line, with its name in the legend.
#[derive(Clone, Debug)]
pub struct Line {
    name: String,
    points: Vec<Point>,
}

impl Line {
    /// A line through points, in the order of the first axis. Points without a figure are left out.
    pub fn through(
        name: impl Into<String>,
        points: impl IntoIterator<Item = (f64, Option<Spread>)>,
    ) -> Self {
        let points = points.into_iter();
        let points = points.filter_map(|(x, y)| Some(Point { x, y: y? }));
        Self {
            name: name.into(),
            points: points.collect(),
        }
    }
}

/// A plot.
#[derive(Clone, Debug)]
pub struct Chart {
    title: String,
    x: (String, Scale),
    y: (String, Scale),
    lines: Vec<Line>,
    /// How the places of the points are written at the first axis, where its marks are these places.
    places: Option<PlaceText>,
}

impl Chart {
    /// An empty plot.
    pub fn new(title: &str) -> Self {
        Self {
            title: title.to_owned(),
            x: (String::new(), Scale::Linear),
            y: (String::new(), Scale::Linear),
            lines: Vec::new(),
            places: None,
        }
    }

    /// With marks at the first axis where the points are, and nowhere else, written this way. For few places.
    #[must_use]
    pub fn marked_at_points(mut self, text: fn(f64) -> String) -> Self {
        self.places = Some(text);
        self
    }

    /// What the first axis is, with its unit.
    #[must_use]
    pub fn x(mut self, label: &str, scale: Scale) -> Self {
        self.x = (label.to_owned(), scale);
        self
    }

    /// What the second axis is, with its unit.
    #[must_use]
    pub fn y(mut self, label: &str, scale: Scale) -> Self {
        self.y = (label.to_owned(), scale);
        self
    }

    /// Adds a line; one without points is left out.
    pub fn line(&mut self, line: Line) {
        if !line.points.is_empty() {
            self.lines.push(line);
        }
    }

    /// What it shows.
    pub fn title(&self) -> &str {
        &self.title
    }

    /// Draws it.
    ///
    /// # Errors
    /// There is nothing to draw.
    pub fn svg(&self) -> anyhow::Result<String> {
        let points = || self.lines.iter().flat_map(|line| &line.points);
        ensure!(points().next().is_some(), "nothing to draw: {}", self.title);
        let mut x = Axis::over(self.x.1, points().map(|point| point.x), Ends::Exact);
        if let Some(text) = self.places {
            let mut places: Vec<_> = points().map(|point| point.x).collect();
            places.sort_by(f64::total_cmp);
            places.dedup();
            x.marks = Some((places, text));
        }
        let y = Axis::over(
            self.y.1,
            points().flat_map(|point| [point.y.low, point.y.high]),
            Ends::Roomy,
        );
        let mut svg = String::new();
        self.draw(&mut svg, x, y)
            .map_err(|error| anyhow::anyhow!("{error}"))
            .context("drawing")?;
        Ok(svg)
    }

    fn draw(&self, svg: &mut String, x: Axis, y: Axis) -> Result<(), Box<dyn std::error::Error>> {
        let area = SVGBackend::with_string(svg, (WIDTH, HEIGHT)).into_drawing_area();
        area.fill(&WHITE)?;
        let (plot, legend) = area.split_horizontally(WIDTH - LEGEND);
        let mut chart = ChartBuilder::on(&plot)
            .caption(&self.title, ("sans-serif", 17).into_font().color(&INK))
            .margin(12)
            .x_label_area_size(48)
            .y_label_area_size(76)
            .build_cartesian_2d(x.clone(), y.clone())?;
        chart
            .configure_mesh()
            .x_desc(&self.x.0)
            .y_desc(&self.y.0)
            .axis_desc_style(("sans-serif", 14).into_font().color(&INK))
            .label_style(("sans-serif", 13).into_font().color(&INK))
            .axis_style(RGBColor(120, 120, 120))
            .bold_line_style(RGBColor(225, 225, 225))
            .light_line_style(TRANSPARENT)
            .draw()?;
        for (line, (colour, fill)) in self.lines.iter().zip(looks()) {
            let ends =
                |place: fn(&Spread) -> f64| line.points.iter().map(move |it| (it.x, place(&it.y)));
            for ((at, low), (_, high)) in ends(|it| it.low).zip(ends(|it| it.high)) {
                let bar = PathElement::new(
                    vec![(at, low), (at, high)],
                    colour.mix(0.35).stroke_width(5),
                );
                chart.draw_series([bar])?;
            }
            chart.draw_series(LineSeries::new(
                ends(|it| it.median),
                colour.stroke_width(2),
            ))?;
            chart.draw_series(ends(|it| it.median).map(|at| Circle::new(at, 4, fill.filled())))?;
            chart.draw_series(
                ends(|it| it.median).map(|at| Circle::new(at, 4, colour.stroke_width(2))),
            )?;
        }
        self.draw_legend(&legend)?;
        area.present()?;
        Ok(())
    }

    /// Beside the plot, where it hides nothing: in the order in which the lines end.
    fn draw_legend<D>(
        &self,
        area: &DrawingArea<D, plotters::coord::Shift>,
    ) -> Result<(), Box<dyn std::error::Error>>
    where
        D: DrawingBackend,
        D::ErrorType: 'static,
    {
        let mut lines: Vec<_> = self.lines.iter().zip(looks()).collect();
        let height = |line: &Line| line.points.last().map_or(0.0, |point| point.y.median);
        lines.sort_by(|(one, _), (other, _)| height(other).total_cmp(&height(one)));
        for (place, (line, (colour, fill))) in (0..).zip(lines) {
            let y = 52 + 24 * place;
            area.draw(&PathElement::new(
                vec![(4, y), (28, y)],
                colour.stroke_width(3),
            ))?;
            area.draw(&Circle::new((16, y), 4, fill.filled()))?;
            area.draw(&Circle::new((16, y), 4, colour.stroke_width(2)))?;
            area.draw(&Text::new(
                line.name.clone(),
                (36, y - 7),
                ("sans-serif", 14).into_font().color(&INK),
            ))?;
        }
        Ok(())
    }
}

const INK: RGBColor = RGBColor(45, 45, 45);

/// Whether an axis ends where the points do, or a little beyond.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Ends {
    Exact,
    Roomy,
}

/// An axis of numbers; on a logarithmic one, points are at the logarithm of their value.
#[derive(Clone)]
struct Axis {
    scale: Scale,
    inner: RangedCoordf64,
    from: f64,
    to: f64,
    /// Where its marks are and how they are written, where that was said.
    marks: Option<(Vec<f64>, PlaceText)>,
}

impl Axis {
    fn over(scale: Scale, values: impl Iterator<Item = f64>, ends: Ends) -> Self {
        let (mut from, mut to) = (f64::INFINITY, f64::NEG_INFINITY);
        for value in values {
            // There is no logarithm of nothing.
            if scale == Scale::Linear || value > 0.0 {
                from = from.min(value);
                to = to.max(value);
            }
        }
        if !from.is_finite() {
            (from, to) = (1.0, 10.0);
        }
        match (scale, ends) {
            (Scale::Linear, Ends::Roomy) => (from, to) = (from.min(0.0), to * 1.08),
            (Scale::Linear, Ends::Exact) => {}
            (Scale::Log, Ends::Roomy) => (from, to) = (from / 1.6, to * 1.6),
            (Scale::Log, Ends::Exact) => (from, to) = (from / 1.15, to * 1.15),
        }
        if to <= from {
            to = from + 1.0;
        }
        let inner = match scale {
            Scale::Linear => from..to,
            Scale::Log => from.log10()..to.log10(),
        };
        Self {
            scale,
            inner: inner.into(),
            from,
            to,
            marks: None,
        }
    }
}

impl Ranged for Axis {
    type FormatOption = NoDefaultFormatting;
    type ValueType = f64;

    fn map(&self, value: &f64, limit: (i32, i32)) -> i32 {
        match self.scale {
            Scale::Linear => self.inner.map(value, limit),
            Scale::Log => self.inner.map(&value.max(self.from).log10(), limit),
        }
    }

    fn key_points<Hint: KeyPointHint>(&self, hint: Hint) -> Vec<f64> {
        if let Some((places, _)) = &self.marks {
            return places.clone();
        }
        match self.scale {
            Scale::Linear => self.inner.key_points(hint),
            Scale::Log => log_marks(self.from, self.to, hint.max_num_points()),
        }
    }

    fn range(&self) -> std::ops::Range<f64> {
        self.from..self.to
    }
}

impl ValueFormatter<f64> for Axis {
    fn format_ext(&self, value: &f64) -> String {
        match &self.marks {
            Some((_, text)) => text(*value),
            None => short(*value),
        }
    }
}

/// Where a logarithmic axis has its marks: at powers of ten; at 1, 2 and 5 of each where there is room.
fn log_marks(from: f64, to: f64, most: usize) -> Vec<f64> {
    let tens =
        || (from.log10().floor() as i32..=to.log10().ceil() as i32).map(|power| 10f64.powi(power));
    let within = |mark: &f64| (from..=to).contains(mark);
    let fine: Vec<_> = tens()
        .flat_map(|ten| [1.0, 2.0, 5.0].map(|part| part * ten))
        .filter(within)
        .collect();
    match fine.len() <= most.min(10) {
        true => fine,
        false => tens().filter(within).collect(),
    }
}

/// A mark's text: `200 k`, `1 M`, `0.5`.
fn short(value: f64) -> String {
    let exact = |number: f64| {
        let text = format!("{number:.3}");
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    };
    match value.abs() {
        size if size >= 999_999.0 => format!("{} M", exact(value / 1e6)),
        size if size >= 9_999.0 => format!("{} k", exact(value / 1e3)),
        size if size >= 1.0 || size == 0.0 => exact(value),
        _ => number::plain(value),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plot_has_its_labels_lines_and_legend() {
        let mut chart = Chart::new("Cost by keys")
            .x("keys", Scale::Log)
            .y("µs", Scale::Linear);
        let at = |y: f64| Spread::of([y, y * 1.1, y * 0.9]);
        chart.line(Line::through("ours", [(1e3, at(5.0)), (1e6, at(6.0))]));
        chart.line(Line::through("theirs", [(1e3, at(50.0)), (1e6, None)]));
        chart.line(Line::through("nobody's", [(1e3, None)]));
        let svg = chart.svg().unwrap();
        for text in [
            "Cost by keys",
            "keys",
            "µs",
            "ours",
            "theirs",
            "1 M",
            "10 k",
        ] {
            assert!(svg.contains(text), "{text}");
        }
        assert!(!svg.contains("nobody"));
        assert!(Chart::new("nothing").svg().is_err());
    }

    #[test]
    fn logarithmic_marks_are_round() {
        assert_eq!(log_marks(0.9, 70.0, 20), [1.0, 2.0, 5.0, 10.0, 20.0, 50.0]);
        assert_eq!(log_marks(1e3, 1e6, 4), [1e3, 1e4, 1e5, 1e6]);
        assert_eq!(
            [0.05, 5.0, 2e4, 1e6].map(short),
            ["0.050", "5", "20 k", "1 M"]
        );
    }
}
