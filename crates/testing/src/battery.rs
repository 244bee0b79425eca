//! The count of cases of one test of the battery.

use std::{collections::VecDeque, env, fs::OpenOptions, io::Write};

use tokio::task::JoinSet;

/// Counts the cases of one test of the battery and, when dropped, adds the line `ID cases failures` to
/// the file that `LAGAR_BATTERY` names, if it names one. A test that panics in a case has one failure.
#[derive(Debug)]
pub struct Battery {
    id: &'static str,
    begun: u64,
    passed: u64,
}

impl Battery {
    /// `id` as in `docs/reliability.md`: `R1`, `O3`, … Several tests may share one.
    pub fn new(id: &'static str) -> Self {
        Self { id, begun: 0, passed: 0 }
    }

    /// Runs one case. What it panics with is preceded by `replay`: the words that find this case again
    /// (seed, call number, and the command).
    pub fn case<T>(&mut self, replay: &str, case: impl FnOnce() -> T) -> T {
        self.begin(replay);
        let result = case();
        self.pass();
        result
    }

    /// As [`Battery::case`], for a future.
    pub async fn case_async<T>(&mut self, replay: &str, case: impl Future<Output = T>) -> T {
        self.begin(replay);
        let result = case.await;
        self.pass();
        result
    }

    /// Runs all `cases`, `at_once` of them side by side, and returns what they return, in no order. A case
    /// that panics does not keep the others from being run; its words are repeated at the end.
    ///
    /// # Panics
    /// Any of them did.
    pub async fn all<T: Send + 'static, F: Future<Output = T> + Send + 'static>(
        &mut self,
        at_once: usize,
        cases: impl IntoIterator<Item = (String, F)>,
    ) -> Vec<T> {
        let mut waiting: VecDeque<(String, F)> = cases.into_iter().collect();
        let mut running = JoinSet::new();
        let mut results = Vec::new();
        let mut failed = Vec::new();
        loop {
            while running.len() < at_once.max(1)
                && let Some((replay, case)) = waiting.pop_front()
            {
                self.begin(&replay);
                // A task of its own, so that its panic is seen here.
                running.spawn(async move { (replay, tokio::spawn(case).await) });
            }
            match running.join_next().await {
                None => break,
                Some(Ok((_, Ok(result)))) => {
                    self.pass();
                    results.push(result);
                }
                Some(Ok((replay, Err(error)))) => failed.push(format!("{replay}: {error}")),
                Some(Err(error)) => failed.push(error.to_string()),
            }
        }
        assert!(failed.is_empty(), "{} of {} cases failed:\n{}", failed.len(), self.begun, failed.join("\n"));
        results
    }

    /// Counts the cases of what runs many by itself and returns how many they were.
    pub fn many(&mut self, cases: impl FnOnce() -> u64) {
        self.begun += 1; // the one that fails, if it does not return
        let count = cases();
        self.begun += count.saturating_sub(1);
        self.passed += count;
    }

    fn begin(&mut self, replay: &str) {
        self.begun += 1;
        // Captured with the test's output, which is shown only when it fails.
        println!("{} case {}: {replay}", self.id, self.begun);
    }

    fn pass(&mut self) {
        self.passed += 1;
    }
}

impl Drop for Battery {
    fn drop(&mut self) {
        let Some(path) = env::var_os("LAGAR_BATTERY") else { return };
        let line = format!("{} {} {}\n", self.id, self.begun, self.begun - self.passed);
        let written = OpenOptions::new()
            .create(true)
            .append(true)
            .open(path)
            .and_then(|mut file| file.write_all(line.as_bytes()));
        if let Err(error) = written {
            eprintln!("LAGAR_BATTERY: {error}");
        }
    }
}

/// Whether the long lane runs: `LAGAR_LONG=1`.
pub fn long() -> bool {
    env::var_os("LAGAR_LONG").is_some_and(|value| value == "1")
}

/// The number in the variable `name`, with which one case is repeated.
pub fn env_number(name: &str) -> Option<u64> {
    env::var(name).ok()?.parse().ok()
}

/// `LAGAR_SEED` alone if it is set, else the seeds from 1.
pub fn seeds(count: u64) -> Vec<u64> {
    env_number("LAGAR_SEED").map_or_else(|| (1..=count).collect(), |seed| vec![seed])
}

/// The line that repeats a case: `LAGAR_SEED=7 cargo test -p lagar-lake --test lake NAME`.
pub fn replay(package: &str, target: &str, test: &str, variables: &[(&str, u64)]) -> String {
    let mut line = String::new();
    for (name, value) in variables {
        line.push_str(&format!("{name}={value} "));
    }
    format!("{line}cargo test -p {package} --test {target} {test}")
}
