//! What libFuzzer says of a run, in a line.

/// Figures of a run, as libFuzzer writes them; empty where it does not say.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Figures {
    executions: String,
    per_second: String,
    coverage: String,
    memory: String,
    slowest: String,
}

impl Figures {
    /// A table in Markdown, as `docs/reliability.md` has it.
    pub(super) const HEADER: &str = "| target | inputs | a second | coverage | peak memory | slowest input |\n\
                                     |---|---:|---:|---:|---:|---:|";

    /// From what a program wrote.
    pub(super) fn of(text: &str) -> Self {
        let last = |key: &str| {
            let after = text.lines().rev().find_map(|line| line.split_once(key)).map(|(_, after)| after);
            after.and_then(|after| after.split_whitespace().next()).unwrap_or_default().to_owned()
        };
        Self {
            executions: last("stat::number_of_executed_units:"),
            per_second: last("stat::average_exec_per_sec:"),
            coverage: last(" cov: "),
            memory: last("stat::peak_rss_mb:"),
            slowest: last("stat::slowest_unit_time_sec:"),
        }
    }

    pub(super) fn line(&self, target: &str) -> String {
        let Self { executions, per_second, coverage, memory, slowest } = self;
        // Whole seconds, rounded down.
        let slowest = if slowest == "0" { "< 1 s".to_owned() } else { format!("{slowest} s") };
        format!("| {target} | {executions} | {per_second} | {coverage} | {memory} MiB | {slowest} |")
    }
}

#[cfg(test)]
mod tests {
    use super::Figures;

    #[test]
    fn the_last_words_count() {
        let text = "#2\tINITED cov: 12 ft: 13 corp: 1/1b exec/s: 0 rss: 38Mb\n#9\tDONE   cov: 34 ft: 50 corp: 2/2b\n\
                    Done 9 runs in 2 second(s)\nstat::number_of_executed_units: 9\nstat::average_exec_per_sec:     4\n\
                    stat::slowest_unit_time_sec:    0\nstat::peak_rss_mb:              39\n";
        assert_eq!(Figures::of(text).line("t"), "| t | 9 | 4 | 34 | 39 MiB | < 1 s |");
    }
}
