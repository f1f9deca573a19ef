//! What `acp top` shows, drawn from [`Figures`] alone: on a terminal, or as text of the same shape.

use std::fmt::Write as _;

use ratatui::Frame;
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Paragraph, Row, Table};

use super::figures::{Count, Figures, Tenant};

/// Columns of the text that is printed where there is no terminal.
const TEXT_COLUMNS: u16 = 100;

/// What tenants are sorted by, the largest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sort {
    Requests,
    Refused,
    Connections,
    Bytes,
}

/// All there is to draw.
#[derive(Debug)]
pub(super) struct View {
    pub(super) figures: Figures,
    pub(super) sort: Sort,
    pub(super) paused: bool,
    /// Why the figures are not of now.
    pub(super) trouble: Option<String>,
}

impl View {
    pub(super) fn new(figures: Figures) -> Self {
        Self { figures, sort: Sort::Requests, paused: false, trouble: None }
    }

    fn tenants(&self) -> Vec<&Tenant> {
        let mut tenants: Vec<&Tenant> = self.figures.tenants.iter().collect();
        tenants.sort_by(|a, b| {
            let order = match self.sort {
                Sort::Requests => (b.sent + b.refused).total_cmp(&(a.sent + a.refused)),
                Sort::Refused => b.refused.total_cmp(&a.refused),
                Sort::Connections => b.connections.cmp(&a.connections),
                Sort::Bytes => (b.bytes_in + b.bytes_out).cmp(&(a.bytes_in + a.bytes_out)),
            };
            order.then_with(|| a.name.cmp(&b.name))
        });
        tenants
    }
}

/// Draws on the whole of a frame; what has no room is left out, the last tenants first.
pub(super) fn draw(frame: &mut Frame<'_>, view: &View) {
    let figures = &view.figures;
    let middle = u16::try_from(figures.layers.len().max(figures.kernel.len() + figures.penalties.len())).unwrap_or(0);
    let rows = [Constraint::Length(3), Constraint::Length(middle + 2), Constraint::Min(0)];
    let [head, counts, tenants] = Layout::vertical(rows).areas(frame.area());
    let [layers, kernel] = Layout::horizontal([Constraint::Fill(1), Constraint::Fill(1)]).areas(counts);
    frame.render_widget(Paragraph::new(summary(view)), head);
    frame.render_widget(
        table(&["REFUSED BY", "/s", "total"], figures.layers.iter().map(count_cells), &[12, 9, 12]),
        layers,
    );
    let penalties =
        figures.penalties.iter().map(|(step, n)| [format!("penalties: {step}"), String::new(), n.to_string()]);
    let steps = figures.kernel.iter().map(count_cells).chain(penalties);
    frame.render_widget(table(&["KERNEL", "/s", "total"], steps, &[20, 9, 12]), kernel);
    draw_tenants(frame, tenants, view);
}

fn draw_tenants(frame: &mut Frame<'_>, area: Rect, view: &View) {
    let mark = |sort, head: &'static str| if view.sort == sort { format!("{head}▼") } else { head.to_owned() };
    let heads = [
        "TENANT".to_owned(),
        mark(Sort::Requests, "sent/s"),
        mark(Sort::Refused, "refused/s"),
        "sent".to_owned(),
        "refused".to_owned(),
        mark(Sort::Connections, "conns"),
        mark(Sort::Bytes, "in"),
        "out".to_owned(),
    ];
    let cells = view.tenants().into_iter().map(|tenant| {
        [
            tenant.name.clone(),
            number(tenant.sent),
            number(tenant.refused),
            number_of(tenant.sent_total),
            number_of(tenant.refused_total),
            number_of(tenant.connections),
            bytes(tenant.bytes_in),
            bytes(tenant.bytes_out),
        ]
    });
    let heads: Vec<&str> = heads.iter().map(String::as_str).collect();
    frame.render_widget(table(&heads, cells, &[24, 9, 11, 10, 10, 8, 9, 9]), area);
}

fn summary(view: &View) -> Vec<Line<'static>> {
    let Figures { status, .. } = &view.figures;
    let (word, colour) = match (status.ready, status.degraded.is_empty()) {
        (true, true) => ("ready", Color::Green),
        (true, false) => ("degraded", Color::Yellow),
        (false, _) => ("not ready", Color::Red),
    };
    let mut first = vec![
        Span::styled(word, Style::new().fg(colour).add_modifier(Modifier::BOLD)),
        Span::raw(format!("  tier {}  generation {}", status.kernel_tier, status.generation)),
    ];
    let why = if status.ready { &status.degraded } else { &status.unready };
    if !why.is_empty() {
        first.push(Span::raw(format!("  ({})", why.join("; "))));
    }
    if view.paused {
        first.push(Span::styled("  paused", Style::new().fg(Color::Yellow)));
    }
    let figures = &view.figures;
    let mut second = format!("{} requests/s", number(figures.requests));
    if let Some((p50, p99)) = figures.latency_ms {
        let _ = write!(second, "  p50 <= {}  p99 <= {}", milliseconds(p50), milliseconds(p99));
    }
    let (open, accepted) = (number(figures.open), number(figures.accepted));
    let _ = write!(second, "  {open} connections, {accepted} new/s  {} records/s", number(figures.records));
    if figures.waiting > 0.0 {
        let _ = write!(second, "  {} waiting", number(figures.waiting));
    }
    let third = view.trouble.clone().unwrap_or_default();
    vec![Line::from(first), Line::raw(second), Line::styled(third, Style::new().fg(Color::Red))]
}

fn table<const N: usize>(heads: &[&str], rows: impl Iterator<Item = [String; N]>, widths: &[u16]) -> Table<'static> {
    // The first column names, the others count.
    let aligned = |cells: Vec<String>| {
        let cells = cells.into_iter().enumerate();
        Row::new(cells.map(|(at, cell)| if at == 0 { Line::raw(cell) } else { Line::raw(cell).right_aligned() }))
    };
    let head = aligned(heads.iter().map(|head| (*head).to_owned()).collect());
    let widths = widths.iter().map(|width| Constraint::Length(*width));
    Table::new(rows.map(|row| aligned(row.to_vec())), widths)
        .header(head.style(Style::new().add_modifier(Modifier::BOLD)))
}

fn count_cells(count: &Count) -> [String; 3] {
    [count.name.to_owned(), number(count.per_second), number(count.total)]
}

/// At most five characters up to a billion: `0`, `0.5`, `12.3`, `999`, `1.2k`, `45.6M`.
fn number(value: f64) -> String {
    match value {
        v if v < 0.05 => "0".to_owned(),
        v if v < 99.95 && v.fract() != 0.0 => format!("{v:.1}"),
        v if v < 9_999.5 => format!("{v:.0}"),
        v if v < 999_950.0 => format!("{:.1}k", v / 1e3),
        v if v < 999_950_000.0 => format!("{:.1}M", v / 1e6),
        v => format!("{:.1}G", v / 1e9),
    }
}

#[expect(clippy::cast_precision_loss, reason = "shown with a few digits")]
fn number_of(value: u64) -> String {
    number(value as f64)
}

#[expect(clippy::cast_precision_loss, reason = "shown with a few digits")]
fn bytes(value: u64) -> String {
    match value {
        v if v < 1 << 10 => format!("{v} B"),
        v if v < 1 << 20 => format!("{:.1} KiB", v as f64 / 1024.0),
        v if v < 1 << 30 => format!("{:.1} MiB", v as f64 / 1_048_576.0),
        v => format!("{:.1} GiB", v as f64 / 1_073_741_824.0),
    }
}

fn milliseconds(value: f64) -> String {
    match value {
        v if v.is_infinite() => "more".to_owned(),
        v if v < 1.0 => format!("{:.0} µs", v * 1e3),
        v if v < 1_000.0 => format!("{v:.0} ms"),
        v => format!("{:.1} s", v / 1e3),
    }
}

/// The same as text, as many lines as there is to show.
pub(super) fn text(view: &View) -> String {
    let figures = &view.figures;
    let lines = 8 + figures.layers.len().max(figures.kernel.len() + figures.penalties.len()) + figures.tenants.len();
    let backend = TestBackend::new(TEXT_COLUMNS, u16::try_from(lines).unwrap_or(u16::MAX));
    let Ok(mut terminal) = Terminal::new(backend);
    let Ok(drawn) = terminal.draw(|frame| draw(frame, view));
    let mut text = String::new();
    for cells in drawn.buffer.content().chunks(usize::from(TEXT_COLUMNS)) {
        let line: String = cells.iter().map(|cell| cell.symbol()).collect();
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text.truncate(text.trim_end().len());
    text.push('\n');
    text
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::super::sample::Readiness;
    use super::*;

    fn view() -> View {
        let count = |name, per_second, total| Count { name, per_second, total };
        let tenant = |name: &str, sent, refused, connections| Tenant {
            name: name.to_owned(),
            sent,
            refused,
            sent_total: 1_234_567,
            refused_total: 12,
            connections,
            bytes_in: 3 << 20,
            bytes_out: 700,
        };
        View::new(Figures {
            status: Readiness {
                ready: true,
                unready: vec![],
                degraded: vec!["keys of idp are stale".to_owned()],
                kernel_tier: "K2".to_owned(),
                generation: 3,
            },
            requests: 30_512.4,
            latency_ms: Some((0.25, 5.0)),
            open: 64.0,
            waiting: 0.0,
            accepted: 1.5,
            records: 30_512.4,
            layers: vec![count("identity", 0.0, 3.0), count("usage", 250.0, 12_000.0)],
            kernel: vec![count("refused", 4_800.0, 5e6)],
            penalties: BTreeMap::from([("refuse".to_owned(), 1), ("silent".to_owned(), 2)]),
            tenants: vec![tenant("acme", 10.0, 0.0, 9), tenant("globex", 30_500.0, 250.0, 5)],
        })
    }

    #[test]
    fn the_text_has_every_figure_in_its_place() {
        let expected = "\
degraded  tier K2  generation 3  (keys of idp are stale)
30.5k requests/s  p50 <= 250 µs  p99 <= 5 ms  64 connections, 1.5 new/s  30.5k records/s

REFUSED BY          /s        total               KERNEL                      /s        total
identity             0            3               refused                   4800         5.0M
usage              250        12.0k               penalties: refuse                         1
                                                  penalties: silent                         2

TENANT                     sent/s▼   refused/s       sent    refused    conns        in       out
globex                       30.5k         250       1.2M         12        5   3.0 MiB     700 B
acme                            10           0       1.2M         12        9   3.0 MiB     700 B
";
        assert_eq!(text(&view()), expected);
    }

    #[test]
    fn tenants_are_sorted_by_what_was_chosen() {
        let mut view = view();
        view.sort = Sort::Connections;
        let text = text(&view);
        assert!(text.contains("conns▼"), "{text}");
        assert!(text.find("acme").unwrap() < text.find("globex").unwrap(), "{text}");
    }

    #[test]
    fn a_gateway_that_is_gone_is_said_and_a_small_terminal_is_no_failure() {
        let mut view = view();
        view.trouble = Some("cannot reach a gateway".to_owned());
        assert!(text(&view).contains("cannot reach a gateway"));
        for (columns, rows) in [(1, 1), (10, 3), (40, 5)] {
            let mut terminal = Terminal::new(TestBackend::new(columns, rows)).unwrap();
            terminal.draw(|frame| draw(frame, &view)).unwrap();
        }
    }

    #[test]
    fn numbers_stay_short() {
        for (value, shown) in [(0.0, "0"), (0.04, "0"), (0.5, "0.5"), (12.0, "12"), (12.34, "12.3"), (999.6, "1000")] {
            assert_eq!(number(value), shown);
        }
        for (value, shown) in [(12_345.0, "12.3k"), (999_960.0, "1.0M"), (45.6e6, "45.6M"), (2e9, "2.0G")] {
            assert_eq!(number(value), shown);
        }
    }
}
