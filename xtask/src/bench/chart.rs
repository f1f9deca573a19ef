//! The bar chart: CPU per request and requests per second of every row, as an SVG without a library.

use std::fmt::Write as _;

use super::report::{Series, Spread};

const WIDTH: f64 = 760.0;
/// Where bars start: left of it stand the names.
const LEFT: f64 = 130.0;
/// Room right of the longest bar for its number.
const RIGHT: f64 = 150.0;
const BAR: f64 = 20.0;
const STEP: f64 = 28.0;
const HEAD: f64 = 44.0;

/// The chart. A whisker shows the lowest and highest round.
pub(super) fn draw(all: &[Series], subtitle: &str) -> String {
    let panel = HEAD + STEP * all.len() as f64 + 14.0;
    let height = 46.0 + 2.0 * panel;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{height}\" viewBox=\"0 0 {WIDTH} {height}\" \
         font-family=\"system-ui, 'DejaVu Sans', Helvetica, sans-serif\" font-size=\"13\">\n\
         <rect width=\"{WIDTH}\" height=\"{height}\" fill=\"#ffffff\"/>\n"
    );
    text(&mut svg, 16.0, 28.0, "start", 17, "#1b1f24", "One governed request against plain and token-checking proxies");
    text(&mut svg, 16.0, 46.0, "start", 12, "#59636e", subtitle);
    bars(&mut svg, 46.0, "CPU µs per request (lower is better)", all, Series::cpu_us, 2);
    bars(&mut svg, 46.0 + panel, "Requests per second (bounded by the load's core)", all, Series::rps, 0);
    svg + "</svg>\n"
}

fn bars(svg: &mut String, top: f64, title: &str, all: &[Series], value: fn(&Series) -> Spread, decimals: usize) {
    text(svg, 16.0, top + 30.0, "start", 14, "#1b1f24", title);
    let longest = all.iter().map(|series| value(series).high).fold(f64::MIN_POSITIVE, f64::max);
    let scale = (WIDTH - LEFT - RIGHT) / longest;
    for (index, series) in all.iter().enumerate() {
        let (spread, y) = (value(series), top + HEAD + STEP * index as f64);
        let (fill, middle) = (if series.row.is_acp() { "#1f6feb" } else { "#9aa4b0" }, y + BAR / 2.0);
        let end = LEFT + spread.median * scale;
        text(svg, LEFT - 8.0, middle + 4.5, "end", 13, "#1b1f24", series.row.name());
        let width = (end - LEFT).max(1.0);
        let _ =
            writeln!(svg, "<rect x=\"{LEFT}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{BAR}\" fill=\"{fill}\"/>");
        let (low, high) = (LEFT + spread.low * scale, LEFT + spread.high * scale);
        let _ = writeln!(
            svg,
            "<path d=\"M{low:.1} {middle:.1}H{high:.1}M{low:.1} {:.1}v8M{high:.1} {:.1}v8\" stroke=\"#1b1f24\" \
             stroke-width=\"1.2\" fill=\"none\"/>",
            middle - 4.0,
            middle - 4.0
        );
        text(svg, high + 8.0, middle + 4.5, "start", 13, "#1b1f24", &format!("{:.decimals$}", spread.median));
    }
}

fn text(svg: &mut String, x: f64, y: f64, anchor: &str, size: u32, fill: &str, content: &str) {
    let content = content.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    let _ = writeln!(
        svg,
        "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\" font-size=\"{size}\" fill=\"{fill}\">{content}</text>"
    );
}

#[cfg(test)]
mod tests {
    use super::super::measure::Sample;
    use super::super::row::Row;
    use super::*;

    fn series(row: Row, cpu_us: f64) -> Series {
        let sample = |factor: f64| Sample {
            rps: 4e4 / factor,
            cpu_us: cpu_us * factor,
            cpu_us_at_rate: cpu_us,
            p50_us: 1.0,
            p99_us: 2.0,
            rss_kib: 1,
            errors: 0,
        };
        Series { row, samples: vec![sample(0.9), sample(1.0), sample(1.2)] }
    }

    #[test]
    fn the_longest_bar_and_its_number_fit() {
        let svg = draw(&[series(Row::EnvoyJwt, 140.0), series(Row::Acp, 16.0)], "a < b & c");
        for start in svg.match_indices("<rect x=").map(|(start, _)| start) {
            let field = |name: &str| -> f64 {
                let rest = &svg[start..][svg[start..].find(name).expect("a field") + name.len()..];
                rest[..rest.find('"').expect("a quote")].parse().expect("a number")
            };
            assert!(field("x=\"") + field("width=\"") <= WIDTH - RIGHT + 0.1);
        }
        assert!(svg.contains("a &lt; b &amp; c"));
        assert_eq!(svg.matches("<text").count(), 2 + 2 * (1 + 2 * 2));
    }

    #[test]
    fn every_row_is_named_in_both_panels() {
        let svg = draw(&[series(Row::Direct, 9.0), series(Row::Acp, 16.0)], "");
        assert_eq!(svg.matches(">direct<").count(), 2);
        assert_eq!(svg.matches(">acp<").count(), 2);
    }
}
