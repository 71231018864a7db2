//! What a run of `cargo test --no-fail-fast` comes to, read off what it prints.

use std::collections::BTreeMap;
use std::fmt::Write as _;

/// What was seen so far.
#[derive(Debug, Default)]
pub(super) struct Summary {
    passed: usize,
    /// Number of tests by the reason why they are ignored.
    ignored: BTreeMap<String, usize>,
    /// Lines of tests that skipped something, each once.
    skipped: Vec<String>,
    /// Failures of the target that is running.
    pending: Vec<String>,
    /// Target and test; no test where the target itself failed.
    failed: Vec<(String, Option<String>)>,
}

impl Summary {
    /// Takes a line.
    pub(super) fn take(&mut self, line: &str) {
        if let Some(test) = line.strip_prefix("test ").and_then(|line| line.strip_suffix(" ... FAILED")) {
            self.pending.push(test.to_owned());
        } else if let Some(result) = line.strip_prefix("test result: ") {
            let passed = result.split(". ").nth(1).and_then(|counts| counts.split(' ').next()?.parse::<usize>().ok());
            self.passed += passed.unwrap_or(0);
        } else if let Some((_, ignored)) = line.split_once(" ... ignored").filter(|_| line.starts_with("test ")) {
            let reason = ignored.strip_prefix(", ").unwrap_or("no reason given");
            *self.ignored.entry(reason.to_owned()).or_default() += 1;
        } else if line.starts_with("SKIPPED: ") && !self.skipped.iter().any(|skipped| skipped == line) {
            self.skipped.push(line.to_owned());
        } else if let Some((_, target)) = line.split_once(", to rerun pass `").filter(|_| line.starts_with("error: ")) {
            // Cargo's word on a target that failed comes after the target's own.
            let target = target.trim_end_matches('`');
            if self.pending.is_empty() {
                self.failed.push((target.to_owned(), None));
            }
            self.failed.extend(self.pending.drain(..).map(|test| (target.to_owned(), Some(test))));
        }
    }

    pub(super) fn failed(&self) -> bool {
        !(self.failed.is_empty() && self.pending.is_empty())
    }

    /// The end of the run, in lines.
    pub(super) fn report(&self) -> String {
        let mut report = format!("\n{} tests passed", self.passed);
        for (reason, count) in &self.ignored {
            let _ = write!(report, ", {count} were left out ({reason})");
        }
        report.push('\n');
        for skipped in &self.skipped {
            let _ = writeln!(report, "{skipped}");
        }
        let failed = self.failed.len() + self.pending.len();
        if failed > 0 {
            let _ = writeln!(report, "{failed} FAILED:");
        }
        for (target, test) in &self.failed {
            let _ = writeln!(report, "    {target}: {}", test.as_deref().unwrap_or("ended without a result"));
        }
        for test in &self.pending {
            let _ = writeln!(report, "    {test}");
        }
        report
    }
}

#[cfg(test)]
mod tests {
    use super::Summary;

    fn report(lines: &str) -> String {
        let mut summary = Summary::default();
        lines.lines().for_each(|line| summary.take(line));
        assert_eq!(summary.failed(), lines.contains("FAILED") || lines.contains("error: "));
        summary.report()
    }

    #[test]
    fn everything_that_failed_is_named_by_its_target() {
        let lines = "     Running tests/one.rs (target/debug/deps/one-0123)

running 4 tests
test a ... ok
test gpu::b ... ignored, needs a GPU
test gpu::c ... ignored, needs a GPU
SKIPPED: larger cases: there is no folder
test d ... FAILED

failures:

---- d stdout ----
thread 'd' panicked at tests/one.rs:1:1

failures:
    d

test result: FAILED. 1 passed; 1 failed; 2 ignored; 0 measured; 0 filtered out; finished in 0.00s

error: test failed, to rerun pass `-p package --test one`
     Running tests/two.rs (target/debug/deps/two-0123)
SKIPPED: larger cases: there is no folder
error: test failed, to rerun pass `-p package --test two`
   Doc-tests package
test src/lib.rs - f (line 3) ... FAILED
test result: FAILED. 2 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.1s
error: doctest failed, to rerun pass `-p package --doc`
error: 3 targets failed:
    `-p package --test one`
";
        let expected = "
3 tests passed, 2 were left out (needs a GPU)
SKIPPED: larger cases: there is no folder
3 FAILED:
    -p package --test one: d
    -p package --test two: ended without a result
    -p package --doc: src/lib.rs - f (line 3)
";
        assert_eq!(report(lines), expected);
    }

    #[test]
    fn a_run_without_failures_says_so_in_a_line() {
        let lines = "test a ... ok\ntest result: ok. 1 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out\n";
        assert_eq!(report(lines), "\n1 tests passed\n");
    }
}
