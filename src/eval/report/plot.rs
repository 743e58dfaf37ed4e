//! Plots as inline SVG. Colours are CSS classes of the page, so that they follow its light or dark scheme;
//! series differ in colour, point shape and dashes.

use std::fmt::Write;

use super::{escape, scale};

/// Width of a plot in its own units, which are pixels if there is room.
const WIDTH: f64 = 480.0;
/// Height of the area with the axes.
const HEIGHT: f64 = 300.0;
const LEFT: f64 = 46.0;
const RIGHT: f64 = 14.0;
const TOP: f64 = 30.0;
const BOTTOM: f64 = 44.0;
/// Mean width of a legend character. An overestimate leaves a gap, an underestimate overlaps.
const CHARACTER: f64 = 7.0;
const LEGEND_LINE: f64 = 18.0;
const LEGEND_LEFT: f64 = 14.0;
/// Width of a legend sample.
const SAMPLE: f64 = 28.0;
/// Horizontal offset between series at the same ratio.
const DODGE: f64 = 2.0;
/// Largest total offset between the first and the last of them.
const MOST_DODGE: f64 = 12.0;
/// Most characters of a name in the legend.
const NAME: usize = 40;
/// Number of colours that the page defines.
pub(super) const COLOURS: usize = 8;
const SHAPES: usize = 6;

/// The horizontal axis.
#[derive(Clone, Debug, PartialEq)]
pub enum Axis {
    /// Logarithmic, with a tick at each doubling.
    Ratio,
    /// Logarithmic, with decimal ticks.
    Time,
    /// Linear, 0 to 100 %.
    Share,
    /// Named bins. A point's `x` is the index of its bin.
    Bins(Vec<String>),
}

/// A point with its interval. Values are shares, 0 to 1.
#[derive(Clone, Debug, PartialEq)]
pub struct Point {
    /// Value on the horizontal axis.
    pub x: f64,
    /// Value.
    pub y: f64,
    /// Ends of its interval.
    pub interval: Option<(f64, f64)>,
    /// Tooltip text.
    pub label: String,
}

/// The data of one arm.
#[derive(Clone, Debug, PartialEq)]
pub struct Series {
    /// Name in the legend.
    pub name: String,
    /// Selects colour, shape and dashes; 0 is the baseline's.
    pub style: usize,
    /// Points from left to right.
    pub points: Vec<Point>,
    /// Draws a horizontal line at this value, for an arm without a budget.
    pub level: Option<f64>,
}

/// A plot.
#[derive(Clone, Debug, PartialEq)]
pub struct Plot {
    /// Title above the plot.
    pub title: String,
    /// Horizontal axis with its unit.
    pub x_label: String,
    /// The kind of horizontal axis.
    pub axis: Axis,
    /// The series to draw.
    pub series: Vec<Series>,
}

impl Plot {
    /// Renders an `svg` element. Empty if there is nothing to draw.
    pub fn to_svg(&self) -> String {
        let points = || self.series.iter().flat_map(|series| &series.points);
        if points().next().is_none() {
            return String::new();
        }
        let legend = self.legend();
        let height = HEIGHT + legend.lines as f64 * LEGEND_LINE;
        let mut svg = String::new();
        // Writing to a string does not fail.
        let _ = write!(
            svg,
            "<svg viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" aria-label=\"{}\">\
             <text class=\"title\" x=\"{LEFT}\" y=\"16\">{}</text>",
            escape::html(&format!("{}, along: {}", self.title, self.x_label)),
            escape::html(&self.title),
        );
        let y = self.y_scale();
        let x = self.x_scale();
        draw_y(&mut svg, &y);
        self.draw_x(&mut svg, &x);
        let count = self.series.iter().filter(|series| !series.points.is_empty()).count();
        let mut place = 0;
        for series in &self.series {
            // Offset series sideways, so that intervals in one bin do not hide each other.
            let dodge = match self.axis {
                Axis::Bins(_) => x.step * 0.7 * ((place as f64 + 0.5) / count.max(1) as f64 - 0.5),
                Axis::Share => 0.0,
                Axis::Ratio | Axis::Time => {
                    let apart = DODGE.min(MOST_DODGE / count.max(1) as f64);
                    apart * (place as f64 - (count.max(1) - 1) as f64 / 2.0)
                }
            };
            draw_series(&mut svg, series, &x, &y, dodge);
            place += usize::from(!series.points.is_empty());
        }
        svg.push_str(&legend.svg);
        svg.push_str("</svg>");
        svg
    }

    fn y_scale(&self) -> scale::Linear {
        let ends = self.series.iter().flat_map(|series| {
            let points = series.points.iter().flat_map(|point| {
                let (low, high) = point.interval.unwrap_or((point.y, point.y));
                [low, high]
            });
            points.chain(series.level)
        });
        let (low, high) = ends.fold((1.0_f64, 0.0_f64), |(low, high), end| (low.min(end), high.max(end)));
        scale::Linear::of_shares(low, high, HEIGHT - BOTTOM, TOP)
    }

    fn x_scale(&self) -> scale::Horizontal {
        let xs: Vec<f64> =
            self.series.iter().flat_map(|series| &series.points).map(|point| point.x).collect();
        match &self.axis {
            Axis::Ratio => scale::Horizontal::log(&xs, true, LEFT, WIDTH - RIGHT),
            Axis::Time => scale::Horizontal::log(&xs, false, LEFT, WIDTH - RIGHT),
            Axis::Share => scale::Horizontal::shares(&xs, LEFT, WIDTH - RIGHT),
            Axis::Bins(names) => scale::Horizontal::bins(names, LEFT, WIDTH - RIGHT),
        }
    }

    fn draw_x(&self, svg: &mut String, x: &scale::Horizontal) {
        let bottom = HEIGHT - BOTTOM;
        for at in &x.grid {
            let _ = write!(
                svg,
                "<line class=\"grid\" x1=\"{at:.1}\" x2=\"{at:.1}\" y1=\"{TOP}\" y2=\"{bottom}\"/>"
            );
        }
        for (at, label) in &x.ticks {
            let _ = write!(
                svg,
                "<text class=\"tick\" text-anchor=\"middle\" x=\"{at:.1}\" y=\"{:.1}\">{}</text>",
                bottom + 16.0,
                escape::html(label),
            );
        }
        let _ = write!(
            svg,
            "<text class=\"axis\" text-anchor=\"middle\" x=\"{:.1}\" y=\"{:.1}\">{}</text>",
            f64::midpoint(LEFT, WIDTH - RIGHT),
            bottom + 34.0,
            escape::html(&self.x_label),
        );
    }

    fn legend(&self) -> Legend {
        let mut legend = Legend { svg: String::new(), lines: 1 };
        let mut at = LEGEND_LEFT;
        for series in &self.series {
            let name: String = if series.name.chars().count() > NAME {
                series.name.chars().take(NAME - 1).chain(['…']).collect()
            } else {
                series.name.clone()
            };
            let width = SAMPLE + name.chars().count() as f64 * CHARACTER + 12.0;
            if at > LEGEND_LEFT && at + width > WIDTH {
                legend.lines += 1;
                at = LEGEND_LEFT;
            }
            let y = HEIGHT + (legend.lines as f64 - 0.5) * LEGEND_LINE;
            let (colour, dashes) = style(series.style);
            let class = if series.level.is_some() { "level" } else { "line" };
            let _ = write!(
                legend.svg,
                "<g class=\"{colour}\"><line class=\"{class}\"{dashes} x1=\"{at:.1}\" x2=\"{:.1}\" y1=\"{y:.1}\" y2=\"{y:.1}\"/>",
                at + SAMPLE - 6.0,
            );
            if !series.points.is_empty() {
                draw_shape(&mut legend.svg, series.style, at + (SAMPLE - 6.0) / 2.0, y);
            }
            let _ = write!(
                legend.svg,
                "</g><text class=\"tick\" x=\"{:.1}\" y=\"{:.1}\">{}</text>",
                at + SAMPLE,
                y + 4.0,
                escape::html(&name),
            );
            at += width;
        }
        legend
    }
}

struct Legend {
    svg: String,
    lines: usize,
}

fn draw_y(svg: &mut String, y: &scale::Linear) {
    for (at, label) in &y.ticks {
        let _ = write!(
            svg,
            "<line class=\"grid\" x1=\"{LEFT}\" x2=\"{:.1}\" y1=\"{at:.1}\" y2=\"{at:.1}\"/>\
             <text class=\"tick\" text-anchor=\"end\" x=\"{:.1}\" y=\"{:.1}\">{label}</text>",
            WIDTH - RIGHT,
            LEFT - 6.0,
            at + 4.0,
        );
    }
}

fn draw_series(svg: &mut String, series: &Series, x: &scale::Horizontal, y: &scale::Linear, dodge: f64) {
    let (colour, dashes) = style(series.style);
    let _ = write!(svg, "<g class=\"series {colour}\">");
    if let Some(level) = series.level {
        let at = y.at(level);
        let _ = write!(
            svg,
            "<line class=\"level\"{dashes} x1=\"{LEFT}\" x2=\"{:.1}\" y1=\"{at:.1}\" y2=\"{at:.1}\"><title>{}</title></line>",
            WIDTH - RIGHT,
            escape::html(&format!("{}: {:.1} %", series.name, level * 100.0)),
        );
    }
    let place = |point: &Point| (x.at(point.x) + dodge, y.at(point.y));
    for point in &series.points {
        let Some((low, high)) = point.interval else { continue };
        let ((at, _), low, high) = (place(point), y.at(low), y.at(high));
        let _ = write!(svg, "<path class=\"bar\" d=\"M{:.1} {low:.1}h6m-3 0V{high:.1}m-3 0h6\"/>", at - 3.0,);
    }
    if series.points.len() > 1 {
        let path: Vec<String> =
            series.points.iter().map(place).map(|(x, y)| format!("{x:.1} {y:.1}")).collect();
        let _ = write!(svg, "<path class=\"line\"{dashes} d=\"M{}\"/>", path.join("L"));
    }
    for point in &series.points {
        let (x, y) = place(point);
        let _ = write!(svg, "<g><title>{}</title>", escape::html(&point.label));
        draw_shape(svg, series.style, x, y);
        svg.push_str("</g>");
    }
    svg.push_str("</g>");
}

/// The CSS class of a colour, and the attribute for its dashes.
fn style(style: usize) -> (String, &'static str) {
    let Some(other) = style.checked_sub(1) else { return ("base".into(), "") };
    let dashes = match other / COLOURS % 3 {
        0 => "",
        1 => " stroke-dasharray=\"6 3\"",
        _ => " stroke-dasharray=\"2 3\"",
    };
    (format!("c{}", other % COLOURS), dashes)
}

fn draw_shape(svg: &mut String, style: usize, x: f64, y: f64) {
    let _ = match style % SHAPES {
        0 => write!(svg, "<circle class=\"point\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3.6\"/>"),
        1 => write!(svg, "<path class=\"point\" d=\"M{:.1} {:.1}h6.6v6.6h-6.6z\"/>", x - 3.3, y - 3.3),
        2 => write!(svg, "<path class=\"point\" d=\"M{x:.1} {:.1}l4.2 7.4h-8.4z\"/>", y - 4.6),
        3 => write!(svg, "<path class=\"point\" d=\"M{x:.1} {:.1}l4.6 4.6l-4.6 4.6l-4.6 -4.6z\"/>", y - 4.6),
        4 => write!(svg, "<path class=\"point\" d=\"M{x:.1} {:.1}l4.2 -7.4h-8.4z\"/>", y + 4.6),
        _ => write!(svg, "<path class=\"point open\" d=\"M{:.1} {:.1}l7 7m0 -7l-7 7\"/>", x - 3.5, y - 3.5),
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plot_shows_its_points_and_escapes_names() {
        let point = |x, y| Point { x, y, interval: Some((y - 0.1, y + 0.1)), label: "<b>".into() };
        let plot = Plot {
            title: "a & b".into(),
            x_label: "ratio".into(),
            axis: Axis::Ratio,
            series: vec![
                Series { name: "full".into(), style: 0, points: vec![], level: Some(0.8) },
                Series {
                    name: "x\"<script>".into(),
                    style: 9,
                    points: vec![point(2.0, 0.5), point(8.0, 0.4)],
                    level: None,
                },
            ],
        };
        let svg = plot.to_svg();
        assert_eq!(svg.matches("class=\"bar\"").count(), 2);
        assert!(!svg.contains("<script>") && !svg.contains("<b>") && !svg.contains("NaN"), "{svg}");
        assert!(svg.contains("a &amp; b"));
        assert!(!svg.contains("http"));
        let empty = Plot { series: Vec::new(), ..plot };
        assert_eq!(empty.to_svg(), "");
    }
}
