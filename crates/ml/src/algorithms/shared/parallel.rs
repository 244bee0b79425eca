//! Work that is cut into pieces for threads.

use std::{panic::resume_unwind, thread};

/// `work(0)`, `work(1)`, … `work(count - 1)`, in this order whichever thread did them.
pub(crate) fn each<T: Send>(threads: usize, count: usize, work: impl Fn(usize) -> T + Sync) -> Vec<T> {
    let share = count.div_ceil(threads.max(1)).max(1);
    if share >= count {
        return (0..count).map(work).collect();
    }
    let work = &work;
    thread::scope(|scope| {
        let parts: Vec<_> = (0..count)
            .step_by(share)
            .map(|from| {
                let until = (from + share).min(count);
                scope.spawn(move || (from..until).map(work).collect::<Vec<T>>())
            })
            .collect();
        let done =
            parts.into_iter().flat_map(|part| part.join().unwrap_or_else(|panic| resume_unwind(panic)));
        done.collect()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_stand_in_the_order_of_the_work() {
        for count in [0, 1, 2, 7, 100] {
            let expected: Vec<usize> = (0..count).map(|at| at * at).collect();
            for threads in [0, 1, 2, 3, 8, 200] {
                assert_eq!(each(threads, count, |at| at * at), expected);
            }
        }
    }
}
