//! A picture of a side-by-side run: a bar for each of those who are compared, row by row, as SVG.

use std::env;
use std::fmt::Write as _;
use std::fs;
use std::io;

use crate::figures::Figures;

/// Draws medians into the file that the environment variable `CHART` names, if it names one. `what` is the
/// subject, with what bars tell.
///
/// # Errors
/// The file cannot be written.
pub fn write(
    figures: &Figures,
    what: &str,
    rows: &[&'static str],
    all: &[&'static str],
    ours: &'static str,
) -> io::Result<()> {
    let Some(path) = env::var_os("CHART") else {
        return Ok(());
    };
    let rows: Vec<Row> = rows
        .iter()
        .map(|name| Row::new(figures, name, all, ours))
        .collect();
    fs::write(path, draw(what, &machine(), &rows))
}

/// One row of the table, as far as it has figures.
#[derive(Debug)]
struct Row {
    name: &'static str,
    bars: Vec<Bar>,
}

#[derive(Debug)]
struct Bar {
    who: &'static str,
    figure: f64,
    is_ours: bool,
}

impl Row {
    fn new(
        figures: &Figures,
        name: &'static str,
        all: &[&'static str],
        ours: &'static str,
    ) -> Self {
        let bars = all.iter().map(|&who| Bar {
            who,
            figure: figures.median(name, who),
            is_ours: who == ours,
        });
        Self {
            name,
            bars: bars.filter(|bar| !bar.figure.is_nan()).collect(),
        }
    }
}

fn draw(what: &str, machine: &str, rows: &[Row]) -> String {
    let lines: usize = rows.iter().map(|row| row.bars.len()).sum();
    let height = HEAD + lines * LINE + rows.len() * (TITLE + GAP);
    let mut svg = String::new();
    let mut put = |text: std::fmt::Arguments<'_>| {
        // Writing to memory does not fail.
        let _ = svg.write_fmt(text);
        svg.push('\n');
    };
    put(format_args!(
        r#"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" font-family="sans-serif" font-size="13">"#
    ));
    put(format_args!(
        r##"<rect width="100%" height="100%" fill="#fff"/>"##
    ));
    put(format_args!(
        r#"<text x="10" y="22" font-size="16" font-weight="bold">{}</text>"#,
        escaped(what)
    ));
    put(format_args!(
        r##"<text x="10" y="42" fill="#555">{}</text>"##,
        escaped(machine)
    ));
    let mut y = HEAD;
    for row in rows {
        y += TITLE;
        put(format_args!(
            r#"<text x="10" y="{}" font-weight="bold">{}</text>"#,
            y - 6,
            escaped(row.name)
        ));
        let most = row.bars.iter().map(|bar| bar.figure).fold(0.0, f64::max);
        for Bar {
            who,
            figure,
            is_ours,
        } in &row.bars
        {
            let (colour, width) = (
                if *is_ours { "#1769aa" } else { "#b8c4ce" },
                BAR * figure / most,
            );
            let baseline = y + 14;
            put(format_args!(
                r#"<text x="{}" y="{baseline}" text-anchor="end">{}</text><rect x="{LABEL}" y="{}" width="{width:.1}" height="13" fill="{colour}"/><text x="{:.1}" y="{baseline}">{figure:.2}</text>"#,
                LABEL - 8,
                escaped(who),
                y + 3,
                f64::from(LABEL) + width + 6.0,
            ));
            y += LINE;
        }
        y += GAP;
    }
    svg.push_str("</svg>\n");
    svg
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}

/// When and where.
fn machine() -> String {
    let processor = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let processor = processor
        .lines()
        .find_map(|line| line.strip_prefix("model name"))
        .map_or("", |rest| rest.trim_start_matches([' ', '\t', ':']));
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let today = jiff::Timestamp::now().strftime("%Y-%m-%d");
    format!(
        "{today}, {processor}, {cores} core for the load, Linux {}",
        kernel.trim()
    )
}

const WIDTH: usize = 900;
const HEAD: usize = 54;
const TITLE: usize = 24;
const LINE: usize = 18;
const GAP: usize = 10;
/// Where bars begin, and how long the longest is.
const LABEL: u16 = 190;
const BAR: f64 = 600.0;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_bar_is_the_dearest() {
        let mut figures = Figures::default();
        figures.add("hit, µs", "echo", 2.0);
        figures.add("hit, µs", "ours", 3.0);
        figures.add("hit, µs", "ours", 5.0);
        let row = Row::new(&figures, "hit, µs", &["echo", "absent", "ours"], "ours");
        let svg = draw("CPU <time>", "a machine", &[row]);
        assert!(svg.contains("CPU &lt;time>"), "{svg}");
        assert!(
            svg.contains(r##"width="300.0" height="13" fill="#b8c4ce""##),
            "{svg}"
        );
        assert!(
            svg.contains(r##"width="600.0" height="13" fill="#1769aa""##),
            "{svg}"
        );
        assert!(!svg.contains("absent"), "{svg}");
    }
}
