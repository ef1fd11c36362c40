//! A plot of a group: for each row, how each contender compares with the limit written by hand.

use std::fmt::Write;

use crate::report::{Result, number};

const LEFT: f64 = 190.0;
const WIDTH: f64 = 460.0;
const BAR: f64 = 18.0;
const ROW_GAP: f64 = 46.0;

/// The group's plot, as SVG: bars on a logarithmic scale; 1 is the limit, and shorter is better for times and bytes, longer for rates.
pub fn svg(group: &str, results: &[Result]) -> String {
    let lines = results.iter().map(|result| result.contenders.len()).sum::<usize>() as f64;
    let height = 60.0 + lines * (BAR + 4.0) + results.len() as f64 * ROW_GAP;
    let ratios = || {
        results
            .iter()
            .flat_map(|result| &result.contenders)
            .filter_map(|line| Some(line.to_limit?.median.log10()))
    };
    let low = ratios().fold(-0.3_f64, f64::min) - 0.05;
    let high = ratios().fold(0.3_f64, f64::max) + 0.05;
    let x = |ratio: f64| LEFT + (ratio.log10() - low) / (high - low) * WIDTH;

    let mut svg = String::new();
    // Writing to a String cannot fail.
    let _ = writeln!(
        svg,
        r##"<svg xmlns="http://www.w3.org/2000/svg" width="800" height="{height}" font-family="sans-serif" font-size="12">
<rect width="100%" height="100%" fill="#fff"/>
<text x="16" y="28" font-size="16" font-weight="bold">{group}: compared with the limit written by hand (1)</text>"##
    );
    let mut y = 40.0;
    for result in results {
        let direction = if result.unit.more_is_better() { "longer is better" } else { "shorter is better" };
        y += 26.0;
        let _ = writeln!(
            svg,
            r##"<text x="16" y="{y}" font-weight="bold">{}</text><text x="{LEFT}" y="{y}" fill="#666">{} ({direction})</text>"##,
            result.name, result.what
        );
        y += 8.0;
        for line in &result.contenders {
            let ratio = line.to_limit.map_or(1.0, |ratio| ratio.median);
            let colour = match line.name {
                "ours" => "#2563eb",
                "bare" => "#9ca3af",
                _ => "#d6b98c",
            };
            let (from, to) = (x(1.0).min(x(ratio)), x(1.0).max(x(ratio)));
            let _ = writeln!(
                svg,
                r##"<text x="{}" y="{}" text-anchor="end">{}</text><rect x="{from:.1}" y="{y:.1}" width="{:.1}" height="{BAR}" fill="{colour}" rx="2"/><text x="{:.1}" y="{}" fill="#333">{} x, {} {}</text>"##,
                LEFT - 8.0,
                y + 13.0,
                line.name,
                (to - from).max(2.0),
                to + 6.0,
                y + 13.0,
                number(ratio),
                number(line.measured.median),
                result.unit.sign(),
            );
            y += BAR + 4.0;
        }
        y += ROW_GAP - 34.0;
    }
    let _ = writeln!(
        svg,
        r##"<line x1="{0:.1}" x2="{0:.1}" y1="44" y2="{1:.1}" stroke="#111" stroke-dasharray="3 3"/>
</svg>"##,
        x(1.0),
        y
    );
    svg
}
