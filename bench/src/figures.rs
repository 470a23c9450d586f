//! What was measured, and the table that tells.

use std::collections::BTreeMap;
use std::env;
use std::time::Duration;

/// A figure a round for each row and each of those who are compared.
#[derive(Debug, Default)]
pub struct Figures(BTreeMap<(&'static str, &'static str), Vec<f64>>);

/// What ours is to reach in a row.
#[derive(Clone, Copy, Debug)]
pub enum Goal {
    /// This share of what another needs.
    Of(&'static str, f64),
    /// A figure.
    AtMost(f64),
}

/// What a side-by-side run is told: `[ROUNDS [SECONDS [WORD]]]`.
#[derive(Clone, Debug)]
pub struct Arguments {
    /// How often everything is measured.
    pub rounds: usize,
    /// How long each load goes on.
    pub time: Duration,
    /// Only rows that have it in their names.
    pub word: String,
}

impl Arguments {
    /// Those of the command line: 3 rounds of 3 seconds, and all rows, unless told otherwise.
    #[must_use]
    pub fn read() -> Self {
        let mut words = env::args().skip(1);
        let mut number = || words.next().and_then(|word| word.parse().ok()).unwrap_or(3);
        let (rounds, seconds) = (number(), number());
        Self {
            rounds: rounds as usize,
            time: Duration::from_secs(seconds),
            word: words.next().unwrap_or_default(),
        }
    }
}

impl Figures {
    /// One more of them.
    pub fn add(&mut self, row: &'static str, who: &'static str, figure: f64) {
        self.0.entry((row, who)).or_default().push(figure);
    }

    fn of(&self, row: &'static str, who: &'static str) -> &[f64] {
        self.0.get(&(row, who)).map_or(&[], Vec::as_slice)
    }

    /// The median of all rounds; without any, not a number.
    pub(crate) fn median(&self, row: &'static str, who: &'static str) -> f64 {
        median(self.of(row, who))
    }

    /// The median of the ratios of two that ran in the same round.
    fn ratio(&self, row: &'static str, ours: &'static str, theirs: &'static str) -> f64 {
        let pairs = self.of(row, ours).iter().zip(self.of(row, theirs));
        median(
            &pairs
                .map(|(ours, theirs)| ours / theirs)
                .collect::<Vec<_>>(),
        )
    }
}

/// Prints medians in a table of Markdown, and which goals are reached.
pub fn print(
    figures: &Figures,
    rows: &[(&'static str, &[Goal])],
    all: &[&'static str],
    ours: &'static str,
) {
    println!("| | {} | {ours} ÷ others, and the goal |", all.join(" | "));
    println!("|{}", "---|".repeat(all.len() + 2));
    for (row, goals) in rows {
        let medians = all.iter().map(|who| match figures.median(row, who) {
            figure if figure.is_nan() => "–".to_owned(),
            figure => format!("{figure:.2}"),
        });
        let medians: Vec<String> = medians.collect();
        let goals = goals.iter().map(|goal| {
            let (text, is_reached) = match *goal {
                Goal::Of(other, share) => {
                    let ratio = figures.ratio(row, ours, other);
                    (format!("{ratio:.2} × {other}, {share:.2}"), ratio <= share)
                }
                Goal::AtMost(most) => (format!("{most:.0}"), figures.median(row, ours) <= most),
            };
            let outcome = if is_reached { "reached" } else { "**missed**" };
            format!("{text}: {outcome}")
        });
        let goals: Vec<String> = goals.collect();
        println!("| {row} | {} | {} |", medians.join(" | "), goals.join("; "));
    }
}

/// Of an even number, the mean of the two in the middle; of none, not a number.
fn median(all: &[f64]) -> f64 {
    let mut all = all.to_vec();
    all.sort_by(f64::total_cmp);
    let middle = all.len() / 2;
    match (all.get(middle), all.len() % 2) {
        (None, _) => f64::NAN,
        (Some(&upper), 0) => f64::midpoint(all[middle - 1], upper),
        (Some(&middle), _) => middle,
    }
}

/// For arithmetic.
#[expect(
    clippy::cast_precision_loss,
    reason = "nobody looks at the sixteenth digit"
)]
#[must_use]
pub fn to_float(number: u64) -> f64 {
    number as f64
}
