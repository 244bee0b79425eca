//! Work for several threads whose number does not show in the result.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread::{self, Builder};

use lagar_flow::{Error, Result};

/// `task(0)` to `task(count - 1)`, in this order, whoever did them.
pub(crate) fn in_order<T: Send>(
    count: usize,
    threads: usize,
    task: impl Fn(usize) -> T + Sync,
) -> Result<Vec<T>> {
    let next = AtomicUsize::new(0);
    let work = || {
        let mut done = Vec::new();
        loop {
            let at = next.fetch_add(1, Ordering::Relaxed);
            if at >= count {
                return done;
            }
            done.push((at, task(at)));
        }
    };
    let mut done = thread::scope(|scope| {
        // A thread that the system does not give is not needed: this one works too.
        let others: Vec<_> =
            (1..threads.min(count)).map_while(|_| Builder::new().spawn_scoped(scope, work).ok()).collect();
        let mut done = work();
        for other in others {
            done.extend(other.join().map_err(|_| Error::bug("a thread of a predictor panicked"))?);
        }
        Ok::<_, Error>(done)
    })?;
    done.sort_by_key(|(at, _)| *at);
    Ok(done.into_iter().map(|(_, result)| result).collect())
}

/// `task` of each part, in their order; for parts that are written to.
pub(crate) fn each<P: Send, T: Send>(
    parts: Vec<P>,
    threads: usize,
    task: impl Fn(P) -> T + Sync,
) -> Result<Vec<T>> {
    let parts: Vec<Mutex<Option<P>>> = parts.into_iter().map(|part| Mutex::new(Some(part))).collect();
    let taken = |at: usize| parts[at].lock().unwrap_or_else(PoisonError::into_inner).take();
    Ok(in_order(parts.len(), threads, |at| taken(at).map(&task))?.into_iter().flatten().collect())
}

/// How many threads an amount of work is worth: a thread costs about as much as 100,000 simple steps.
pub(crate) fn worth(steps: usize, threads: usize) -> usize {
    threads.min(steps >> 17).max(1)
}

#[cfg(test)]
mod tests {
    use std::{sync::Condvar, time::Duration};

    use super::*;

    #[test]
    fn results_stand_in_order_with_any_number_of_threads() {
        for threads in [0, 1, 2, 7, 200] {
            let squares = in_order(100, threads, |at| at * at).unwrap();
            assert_eq!(squares, (0..100).map(|at| at * at).collect::<Vec<_>>());
            assert!(in_order(0, threads, |at| at).unwrap().is_empty());
        }
    }

    /// Each task waits until as many are being done at one time as there should be threads.
    #[test]
    fn as_many_threads_work_as_are_asked_for() {
        for threads in [1, 2, 8] {
            let (begun, one_more) = (Mutex::new(0), Condvar::new());
            let met = in_order(threads, threads, |_| {
                let mut all = begun.lock().unwrap();
                *all += 1;
                one_more.notify_all();
                let wait = one_more.wait_timeout_while(all, Duration::from_secs(20), |all| *all < threads);
                !wait.unwrap().1.timed_out()
            });
            assert_eq!(met.unwrap(), vec![true; threads]);
        }
    }

    #[test]
    fn little_work_is_for_one_thread() {
        let threads = [(0, 8), (1 << 17, 8), (1 << 18, 8), (1 << 20, 8), (1 << 30, 8), (1 << 30, 0)];
        assert_eq!(threads.map(|(steps, threads)| worth(steps, threads)), [1, 1, 2, 8, 8, 1]);
    }
}
