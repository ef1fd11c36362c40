//! The plot: memory, tasks and pods, and restarts over time, as an SVG file that any browser shows.

use std::fmt::Write;

use crate::summary::{Point, Summary};

const WIDTH: f64 = 960.0;
const LEFT: f64 = 72.0;
const RIGHT: f64 = 24.0;
const TOP: f64 = 82.0;
const PANEL: f64 = 170.0;
const GAP: f64 = 46.0;
const BOTTOM: f64 = 56.0;

const BLUE: &str = "#2563a8";
const GREEN: &str = "#3c8d5a";
const ORANGE: &str = "#c26a1b";
const RED: &str = "#c0392b";

/// A line of a panel; a gap between two lives is left open.
struct Series {
    name: &'static str,
    colour: &'static str,
    points: Vec<(u64, f64, f64)>,
}

/// Draws a summary.
pub fn draw(summary: &Summary) -> String {
    let points = &summary.points;
    let of =
        |value: fn(&Point) -> f64| points.iter().map(|p| (p.life, p.seconds, value(p))).collect::<Vec<_>>();
    let mut memory =
        vec![Series { name: "resident memory", colour: BLUE, points: of(|point| point.resident_mib) }];
    if let Some(trend) = summary.memory {
        let ends = [trend.from, trend.to].map(|at| (0, at, trend.at(at))).to_vec();
        memory.push(Series { name: "trend of the last life", colour: RED, points: ends });
    }
    let panels = [
        ("memory, MiB", memory),
        (
            "tasks and pods",
            vec![
                Series { name: "tasks", colour: BLUE, points: of(|point| point.tasks as f64) },
                Series { name: "pods", colour: GREEN, points: of(|point| point.pods as f64) },
            ],
        ),
        ("restarts per second", vec![Series { name: "restarts", colour: ORANGE, points: rates(points) }]),
    ];
    // In minutes, unless there is not even one.
    let seconds = points.iter().map(|point| point.seconds).fold(1.0, f64::max);
    let (unit, in_unit) = if seconds >= 120.0 { ("minutes", 60.0) } else { ("seconds", 1.0) };
    let x = |at: f64| LEFT + at / seconds * (WIDTH - LEFT - RIGHT);
    let height = TOP + 3.0 * PANEL + 2.0 * GAP + BOTTOM;

    let mut svg = format!(
        r##"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" font-family="Helvetica, Arial, sans-serif" font-size="12" fill="#333">
<rect width="{WIDTH}" height="{height}" fill="#fcfcfa"/>
<text x="{LEFT}" y="26" font-size="17" font-weight="bold">Soak of {} pods</text>
<text x="{LEFT}" y="44" fill="#666">{:.0} s, seed {}, {} kills (dashed), {}</text>
"##,
        summary.pods,
        summary.seconds,
        summary.seed,
        summary.kills.len(),
        if summary.held() {
            "every check held".to_owned()
        } else {
            format!("{} violations", summary.violations_total)
        }
    );
    for (at, (title, series)) in (0_u8..).zip(&panels) {
        let top = TOP + f64::from(at) * (PANEL + GAP);
        panel(&mut svg, top, title, series, &x, &summary.kills);
    }
    let foot = TOP + 3.0 * PANEL + 2.0 * GAP;
    for tick in ticks(seconds / in_unit) {
        let at = x(tick * in_unit);
        let _ = writeln!(
            svg,
            r#"<text x="{at:.1}" y="{:.1}" text-anchor="middle" fill="dimgray">{tick}</text>"#,
            foot + 18.0
        );
    }
    let _ = writeln!(
        svg,
        r#"<text x="{:.1}" y="{:.1}" text-anchor="middle">time, {unit}</text>"#,
        (LEFT + WIDTH - RIGHT) / 2.0,
        foot + 40.0
    );
    svg.push_str("</svg>\n");
    svg
}

fn panel(svg: &mut String, top: f64, title: &str, series: &[Series], x: &impl Fn(f64) -> f64, kills: &[f64]) {
    let greatest = series.iter().flat_map(|series| &series.points).map(|point| point.2).fold(1.0, f64::max);
    let marks = ticks(greatest * 1.05);
    let y = |value: f64| top + PANEL - value / (greatest * 1.1) * PANEL;
    let (right, bottom) = (WIDTH - RIGHT, top + PANEL);
    let _ = writeln!(
        svg,
        r##"<rect x="{LEFT}" y="{top:.1}" width="{:.1}" height="{PANEL}" fill="#ffffff" stroke="#ccc"/>"##,
        right - LEFT
    );
    for mark in marks {
        let at = y(mark);
        let _ =
            writeln!(svg, r##"<line x1="{LEFT}" x2="{right}" y1="{at:.1}" y2="{at:.1}" stroke="#eee"/>"##);
        let _ = writeln!(
            svg,
            r##"<text x="{:.1}" y="{:.1}" text-anchor="end" fill="#666">{mark}</text>"##,
            LEFT - 8.0,
            at + 4.0
        );
    }
    for kill in kills {
        let at = x(*kill);
        let _ = writeln!(
            svg,
            r##"<line x1="{at:.1}" x2="{at:.1}" y1="{top:.1}" y2="{bottom:.1}" stroke="#b9b9b9" stroke-dasharray="3 3"/>"##
        );
    }
    let _ = writeln!(svg, r#"<text x="{LEFT}" y="{:.1}" font-weight="bold">{title}</text>"#, top - 8.0);
    // Names at the right, from the last to the first.
    let mut name_ends = right;
    for series in series.iter().rev() {
        let Series { name, colour, .. } = series;
        let _ = writeln!(
            svg,
            r#"<text x="{name_ends:.1}" y="{:.1}" text-anchor="end" fill="{colour}">{name}</text>"#,
            top - 8.0
        );
        name_ends -= 7.0 * name.len() as f64 + 18.0;
        for life in series.points.chunk_by(|a, b| a.0 == b.0) {
            let path: Vec<_> =
                life.iter().map(|(_, at, value)| format!("{:.1},{:.1}", x(*at), y(*value))).collect();
            let _ = writeln!(
                svg,
                r#"<polyline points="{}" fill="none" stroke="{colour}" stroke-width="1.5" stroke-linejoin="round"/>"#,
                path.join(" ")
            );
        }
    }
}

/// Restarts per second, between two samples of one life; smoothed over a few.
fn rates(points: &[Point]) -> Vec<(u64, f64, f64)> {
    const OVER: usize = 12;
    let pairs = points.windows(OVER + 1).filter_map(|window| {
        let (first, last) = (window.first()?, window.last()?);
        let passed = last.seconds - first.seconds;
        let restarts = last.restarts.checked_sub(first.restarts)?;
        (first.life == last.life && passed > 0.0).then(|| (last.life, last.seconds, restarts as f64 / passed))
    });
    pairs.collect()
}

/// Round numbers from 0 to `greatest`, four to eight of them.
fn ticks(greatest: f64) -> Vec<f64> {
    let rough = greatest / 5.0;
    let power = 10_f64.powf(rough.log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0]
        .into_iter()
        .map(|factor| factor * power)
        .find(|step| *step >= rough)
        .unwrap_or(rough);
    (0_u8..20)
        .map(|many| f64::from(many) * step)
        .take_while(|tick| *tick <= greatest)
        .map(|tick| (tick * 1000.0).round() / 1000.0)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round() {
        assert_eq!(ticks(97.0), [0.0, 20.0, 40.0, 60.0, 80.0]);
        assert_eq!(ticks(1.05), [0.0, 0.5, 1.0]);
        assert_eq!(ticks(2300.0), [0.0, 500.0, 1000.0, 1500.0, 2000.0]);
    }

    #[test]
    fn a_soak_without_a_sample_is_drawn_as_well() {
        let svg = draw(&Summary::new(1.0, 10, 7));
        assert!(
            svg.starts_with("<svg")
                && svg.ends_with("</svg>\n")
                && !svg.contains("NaN")
                && !svg.contains("inf"),
            "{svg}"
        );
    }
}
